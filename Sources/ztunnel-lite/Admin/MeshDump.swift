import MeshConfig
import MeshNet
import MeshRuntime

/// `/config_dump`: what is in force, under ztunnel's keys, so that its readers understand it. Certificates
/// are public; keys are not in it.
struct MeshDump {
    private let facts: AdminFacts

    init(_ facts: AdminFacts) { self.facts = facts }

    func response() -> AdminResponse {
        var json = JSONWriter(indentation: 2)
        let config = facts.config()
        json.beginObject()
        json.list("certificates", certificates) { $1.write(to: &$0) }
        json.key("config")
        json.beginObject()
        for option in facts.options {
            json.key(option.name)
            option.value.write(to: &json)
        }
        json.member("logFilter", facts.logSettings.filterText)
        json.endObject()
        json.list("policies", config.policies) { $1.write(to: &$0) }
        let refusal = facts.refusal()
        // Ours alone: ztunnel reads its file once.
        if !refusal.isEmpty { json.strings("refusedConfig", refusal) }
        json.list("services", config.services) { $1.write(to: &$0) }
        json.key("version")
        json.beginObject()
        json.member("version", facts.version)
        json.member("buildProfile", Self.buildProfile)
        json.endObject()
        json.list("workloads", config.workloads) { $1.write(to: &$0) }
        json.endObject()
        return .document(json)
    }

    private static var buildProfile: String {
        #if DEBUG
            "debug"
        #else
            "release"
        #endif
    }

    // MARK: Certificates

    private struct Certificates {
        let identity: String
        let state: String
        let chain: [CertificateInfo]
        let roots: [CertificateInfo]

        func write(to json: inout JSONWriter) {
            json.beginObject()
            json.list("certChain", chain) { Self.write($1, to: &$0) }
            json.member("identity", identity)
            json.list("rootCerts", roots) { Self.write($1, to: &$0) }
            json.member("state", state)
            json.endObject()
        }

        private static func write(_ certificate: CertificateInfo, to json: inout JSONWriter) {
            json.beginObject()
            json.member("expirationTime", rfc3339(certificate.notAfter))
            json.member("pem", Base64.text(Array(certificate.pem.utf8)))
            json.member("serialNumber", Decimal.text(hexadecimal: certificate.serial))
            json.member("validFrom", rfc3339(certificate.notBefore))
            json.endObject()
        }

        /// `2024-04-11T15:38:42Z`
        private static func rfc3339(_ time: WallTime) -> String {
            var buffer = ByteBuffer()
            timeFormat.append(time, to: &buffer)
            return String(bytes: buffer.bytes)
        }

        private static let timeFormat = TimeFormat(parts: [
            .year, .literal("-"), .month, .literal("-"), .day, .literal("T"), .hour,
            .literal(":"), .minute, .literal(":"), .second, .literal("Z"),
        ])
    }

    /// By identity; those that have none with the reason.
    private var certificates: [Certificates] {
        let available = facts.identities().credentials.values.map { credentials in
            Certificates(
                identity: credentials.identity.description,
                state: "Available",
                chain: credentials.server.chains.first ?? [credentials.certificate],
                roots: credentials.server.authorities
            )
        }
        let known = Set(available.map(\.identity))
        let missing = facts.identityProblems().compactMap { problem -> Certificates? in
            let parts = problem.split(separator: ": ", maxSplits: 1)
            guard parts.count == 2, !known.contains(String(parts[0])) else { return nil }
            return Certificates(
                identity: String(parts[0]),
                state: "Unavailable: \(parts[1])",
                chain: [],
                roots: []
            )
        }
        return (available + missing).sorted { $0.identity < $1.identity }
    }
}

/// RFC 4648 §4, with padding.
enum Base64 {
    static func text(_ bytes: [UInt8]) -> String {
        let alphabet = Array(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8
        )
        var text: [UInt8] = []
        text.reserveCapacity((bytes.count + 2) / 3 * 4)
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            var bits: UInt32 = 0
            for (at, byte) in group.enumerated() { bits |= UInt32(byte) << UInt32(16 - 8 * at) }
            for at in 0..<4 {
                text.append(
                    at <= group.count
                        ? alphabet[Int(bits >> UInt32(18 - 6 * at)) & 63] : UInt8(ascii: "=")
                )
            }
        }
        return String(decoding: text, as: UTF8.self)
    }
}

/// Numbers too large for any type, as `openssl` and ztunnel write serial numbers.
enum Decimal {
    /// The same text where it is no hexadecimal number.
    static func text(hexadecimal: String) -> String {
        var digits: [UInt8] = [0]
        for character in hexadecimal {
            guard let value = character.hexDigitValue else { return hexadecimal }
            var carry = value
            for at in digits.indices {
                carry += Int(digits[at]) * 16
                digits[at] = UInt8(carry % 10)
                carry /= 10
            }
            while carry > 0 {
                digits.append(UInt8(carry % 10))
                carry /= 10
            }
        }
        return String(decoding: digits.reversed().map { $0 + UInt8(ascii: "0") }, as: UTF8.self)
    }
}
