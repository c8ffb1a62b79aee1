import MeshConfig
import MeshNet

/// Parts of stat names that vary from one cluster or listener to the next become labels
/// (envoy: `stats_config.stats_tags` and the default tags).
package struct StatsTagExtractor: Sendable {
    package struct Tag: Hashable, Sendable {
        /// As Prometheus has it, e.g. `envoy_cluster_name`.
        package let name: String
        package let value: String
    }

    package struct Extraction: Hashable, Sendable {
        /// The name without what became tags.
        package let name: String
        package let tags: [Tag]
    }

    private let rules: [StatsTagRule]
    private let fixed: [Tag]
    private let custom: [(name: String, regex: Regex)]

    /// Envoy's default tags.
    package init() {
        rules = StatsTagRule.defaults
        fixed = []
        custom = []
    }

    package init(_ config: StatsConfig) {
        var fixed: [Tag] = []
        var custom: [(name: String, regex: Regex)] = []
        var wanted: Set<String> = []
        for tag in config.tags {
            let name = Self.label(tag.name)
            switch tag.value {
            case .fixed(let value): fixed.append(Tag(name: name, value: value))
            case .regex(let regex): custom.append((name, regex))
            case .builtIn: wanted.insert(name)
            }
        }
        rules =
            config.usesAllDefaultTags
            ? StatsTagRule.defaults : StatsTagRule.defaults.filter { wanted.contains($0.tag) }
        self.fixed = fixed
        self.custom = custom
    }

    package func extract(_ name: String) -> Extraction {
        let parsed = StatsName(name)
        var tags = fixed
        var removed: [Range<Int>] = []
        for rule in rules where !tags.contains(where: { $0.name == rule.tag }) {
            guard let match = rule.match(parsed) else { continue }
            tags.append(Tag(name: rule.tag, value: parsed.text(match.value)))
            removed.append(match.removed)
        }
        for (tag, regex) in custom where !tags.contains(where: { $0.name == tag }) {
            guard let match = Self.match(regex, parsed) else { continue }
            tags.append(Tag(name: tag, value: match.value))
            removed.append(match.removed)
        }
        return Extraction(name: parsed.removing(removed), tags: tags)
    }

    /// The value of a tag's second group (the first where there is one only), and where the first
    /// group lies.
    private static func match(
        _ regex: Regex,
        _ name: StatsName
    ) -> (value: String, removed: Range<Int>)? {
        guard regex.groupCount > 0 else { return nil }
        // Marks around the groups tell them from what stands before and after the match.
        let rewrite = Array("\u{1}\\1\u{1}\(regex.groupCount > 1 ? "\\2" : "\\1")\u{1}".utf8)
        let marked = name.bytes.withUnsafeBytes { bytes in
            rewrite.withUnsafeBytes { regex.replaceAll(in: bytes, with: $0) }
        }
        let pieces = marked.split(separator: 1, omittingEmptySubsequences: false)
        guard pieces.count >= 4, !pieces[1].isEmpty else { return nil }
        let first = Array(pieces[1])
        var at = pieces[0].count
        while at + first.count <= name.bytes.count {
            if Array(name.bytes[at..<(at + first.count)]) == first {
                return (String(decoding: pieces[2], as: UTF8.self), at..<(at + first.count))
            }
            at += 1
        }
        return nil
    }

    /// Prometheus takes letters, digits and underscores.
    static func label(_ text: String) -> String {
        String(
            decoding: text.utf8.map { byte -> UInt8 in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x5F: byte
                default: UInt8(ascii: "_")
                }
            },
            as: UTF8.self
        )
    }
}

/// A stat name cut into words at its dots; a listener's address, which has dots, is one word.
struct StatsName {
    let bytes: [UInt8]
    let words: [Range<Int>]

    init(_ name: String) {
        bytes = Array(name.utf8)
        var words: [Range<Int>] = []
        var start = 0
        while start <= bytes.count {
            var end = start
            if words.count == 1, Self.isListener(bytes, words[0]),
                let address = Self.addressEnd(bytes, from: start)
            {
                end = address
            } else {
                while end < bytes.count, bytes[end] != UInt8(ascii: ".") { end += 1 }
            }
            words.append(start..<end)
            start = end + 1
        }
        self.words = words
    }

    func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }

    func word(_ at: Int, is text: StaticString) -> Bool {
        bytes[words[at]].elementsEqual(
            UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
        )
    }

    /// A word with one of the dots beside it: the one after it, or at the end the one before.
    func removal(of at: Int) -> Range<Int> {
        let word = words[at]
        return at + 1 < words.count
            ? word.lowerBound..<(word.upperBound + 1)
            : max(0, word.lowerBound - 1)..<word.upperBound
    }

    func removing(_ ranges: [Range<Int>]) -> String {
        var kept: [UInt8] = []
        for (at, byte) in bytes.enumerated() where !ranges.contains(where: { $0.contains(at) }) {
            kept.append(byte)
        }
        return String(decoding: kept, as: UTF8.self)
    }

    private static func isListener(_ bytes: [UInt8], _ word: Range<Int>) -> Bool {
        bytes[word].elementsEqual("listener".utf8)
    }

    /// The end of `127.0.0.1_80` or `[__1]_80`.
    private static func addressEnd(_ bytes: [UInt8], from start: Int) -> Int? {
        var at = start
        func isDigit(_ at: Int) -> Bool { at < bytes.count && (0x30...0x39).contains(bytes[at]) }
        if at < bytes.count, bytes[at] == UInt8(ascii: "[") {
            guard let close = bytes[at...].firstIndex(of: UInt8(ascii: "]")) else { return nil }
            at = close + 1
        } else {
            for part in 0..<4 {
                guard isDigit(at) else { return nil }
                while isDigit(at) { at += 1 }
                guard part < 3 else { break }
                guard at < bytes.count, bytes[at] == UInt8(ascii: ".") else { return nil }
                at += 1
            }
        }
        guard at < bytes.count, bytes[at] == UInt8(ascii: "_"), isDigit(at + 1) else { return nil }
        at += 1
        while isDigit(at) { at += 1 }
        return at == bytes.count || bytes[at] == UInt8(ascii: ".") ? at : nil
    }
}

/// How one tag is found in a name.
struct StatsTagRule: Sendable {
    /// Where the value lies, and what goes with it.
    struct Match {
        let value: Range<Int>
        let removed: Range<Int>
    }

    private enum Word: Sendable {
        case text(StaticString)
        /// Any word.
        case any
        /// The tag's value.
        case value
        /// The tag's value, dots and all, to the end.
        case rest
        /// At least one more word.
        case more
        /// A listener's address or stat prefix; the admin's listener has no tag.
        case listener
        /// `worker_0`, of which the number is the value.
        case worker
    }

    private enum Form: Sendable {
        case words([Word])
        /// `_rq_200`
        case responseCode
        /// `_rq_2xx`
        case responseClass
    }

    let tag: String
    private let form: Form

    func match(_ name: StatsName) -> Match? {
        switch form {
        case .words(let pattern): Self.match(pattern, name)
        case .responseCode: Self.matchCode(name)
        case .responseClass: Self.matchClass(name)
        }
    }

    private static func match(_ pattern: [Word], _ name: StatsName) -> Match? {
        var found: Match?
        var at = 0
        for word in pattern {
            guard at < name.words.count else { return nil }
            switch word {
            case .text(let text):
                guard name.word(at, is: text) else { return nil }
            case .any:
                break
            case .value:
                found = Match(value: name.words[at], removed: name.removal(of: at))
            case .rest:
                let value = name.words[at].lowerBound..<name.bytes.count
                return Match(value: value, removed: (value.lowerBound - 1)..<value.upperBound)
            case .more:
                return found
            case .listener:
                guard !name.word(at, is: "admin") else { return nil }
                if found == nil {
                    found = Match(value: name.words[at], removed: name.removal(of: at))
                }
            case .worker:
                let word = name.words[at]
                let number = name.bytes[word].dropFirst(7)
                guard name.bytes[word].starts(with: "worker_".utf8), !number.isEmpty,
                    number.allSatisfy({ (0x30...0x39).contains($0) })
                else { return nil }
                let start = word.lowerBound + 7
                found = Match(
                    value: start..<word.upperBound,
                    removed: (start - 1)..<word.upperBound
                )
            }
            at += 1
        }
        return at == name.words.count ? found : nil
    }

    private static func matchCode(_ name: StatsName) -> Match? {
        let count = name.bytes.count
        guard count > 7, name.bytes[(count - 7)...].starts(with: "_rq_".utf8),
            name.bytes[(count - 3)...].allSatisfy({ (0x30...0x39).contains($0) })
        else { return nil }
        return Match(value: (count - 3)..<count, removed: (count - 4)..<count)
    }

    private static func matchClass(_ name: StatsName) -> Match? {
        let count = name.bytes.count
        guard count > 7, name.bytes[(count - 7)...].starts(with: "_rq_".utf8),
            name.bytes[(count - 2)...].elementsEqual("xx".utf8),
            (0x30...0x39).contains(name.bytes[count - 3])
        else { return nil }
        return Match(value: (count - 3)..<(count - 2), removed: (count - 3)..<(count - 2))
    }

    private init(_ tag: String, _ pattern: Word...) {
        self.tag = tag
        form = .words(pattern)
    }

    private init(_ tag: String, form: Form) {
        self.tag = tag
        self.form = form
    }

    /// Envoy's default tags for the stats that exist here, in the order in which labels are printed.
    static let defaults: [StatsTagRule] = [
        StatsTagRule("envoy_response_code", form: .responseCode),
        StatsTagRule("envoy_response_code_class", form: .responseClass),
        StatsTagRule(
            "envoy_virtual_cluster",
            .text("vhost"),
            .any,
            .text("vcluster"),
            .value,
            .more
        ),
        StatsTagRule(
            "envoy_fault_downstream_cluster",
            .text("http"),
            .any,
            .text("fault"),
            .value,
            .more
        ),
        StatsTagRule(
            "envoy_ssl_cipher",
            .text("listener"),
            .any,
            .text("ssl"),
            .text("ciphers"),
            .rest
        ),
        StatsTagRule("envoy_ssl_curve", .any, .any, .text("ssl"), .text("curves"), .rest),
        StatsTagRule("envoy_ssl_sigalg", .any, .any, .text("ssl"), .text("sigalgs"), .rest),
        StatsTagRule("envoy_ssl_version", .any, .any, .text("ssl"), .text("versions"), .rest),
        StatsTagRule(
            "cipher_suite",
            .text("cluster"),
            .any,
            .text("ssl"),
            .text("ciphers"),
            .rest
        ),
        StatsTagRule(
            "envoy_tls_certificate",
            .any,
            .any,
            .text("ssl"),
            .text("certificate"),
            .value,
            .more
        ),
        StatsTagRule("envoy_rbac_prefix", .value, .text("rbac"), .more),
        StatsTagRule(
            "envoy_rbac_http_prefix",
            .text("http"),
            .any,
            .text("rbac"),
            .value,
            .more
        ),
        StatsTagRule(
            "envoy_grpc_bridge_method",
            .text("cluster"),
            .any,
            .text("grpc"),
            .any,
            .value,
            .more
        ),
        StatsTagRule(
            "envoy_grpc_bridge_service",
            .text("cluster"),
            .any,
            .text("grpc"),
            .value,
            .more
        ),
        StatsTagRule("envoy_tcp_prefix", .text("tcp"), .value, .more),
        StatsTagRule("envoy_cluster_name", .text("cluster"), .value, .more),
        StatsTagRule(
            "envoy_http_conn_manager_prefix",
            .text("listener"),
            .any,
            .text("http"),
            .value,
            .more
        ),
        StatsTagRule("envoy_http_conn_manager_prefix", .text("http"), .value, .more),
        StatsTagRule("envoy_worker_id", .text("listener_manager"), .worker, .more),
        StatsTagRule("envoy_worker_id", .text("listener"), .any, .worker, .more),
        StatsTagRule("envoy_worker_id", .text("server"), .worker, .more),
        StatsTagRule("envoy_worker_id", .text("thread_local_cluster_manager"), .worker, .more),
        StatsTagRule("envoy_listener_address", .text("listener"), .listener, .more),
        StatsTagRule("envoy_virtual_host", .text("vhost"), .value, .more),
        StatsTagRule("envoy_route", .text("vhost"), .any, .text("route"), .value, .more),
        StatsTagRule(
            "envoy_local_http_ratelimit_prefix",
            .value,
            .text("http_local_rate_limit"),
            .more
        ),
    ]
}
