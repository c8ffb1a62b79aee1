import MeshConfig
import MeshNet

extension ZtunnelOptions {
    /// One thing that can be set, by a variable of the environment, a flag, or both.
    struct Setting: Sendable {
        /// Empty where only the flag exists.
        let variable: String
        /// Without dashes; empty where only the variable exists.
        let flag: String
        /// What a value looks like in `--help`.
        let form: String
        let help: String
        /// Nil, or why the value is none.
        let apply: @Sendable (inout ZtunnelOptions, String) -> String?
    }

    /// Everything that can be set, in the order of `--help`.
    static let settings: [Setting] = [
        Setting(variable: "LOCAL_XDS_PATH", flag: "c", form: "FILE", help: "the mesh, YAML or JSON")
        {
            $0.source = .file($1)
            return nil
        },
        Setting(variable: "LOCAL_XDS", flag: "", form: "TEXT", help: "the mesh itself") {
            if $0.source == nil { $0.source = .text($1) }
            return nil
        },
        choice("PROXY_MODE", "mode", \.mode, "one workload, or all of this host (shared)"),
        Setting(
            variable: "PROXY_WORKLOAD_INFO",
            flag: "workload",
            form: "NAMESPACE/NAME/ACCOUNT",
            help: "the workload of dedicated mode",
            apply: { options, value in
                let parts = value.split(separator: "/", omittingEmptySubsequences: false)
                guard parts.count == 3, parts.allSatisfy({ !$0.isEmpty }) else {
                    return "expected NAMESPACE/NAME/SERVICE-ACCOUNT"
                }
                options.workload = WorkloadInfo(
                    namespace: String(parts[0]),
                    name: String(parts[1]),
                    serviceAccount: String(parts[2])
                )
                return nil
            }
        ),
        address("OUTBOUND_ADDR", "outbound", \.outboundAddress, "captured connections to others"),
        address("INBOUND_ADDR", "inbound", \.inboundAddress, "HBONE from others"),
        address(
            "INBOUND_PLAINTEXT_ADDR",
            "inbound-plaintext",
            \.inboundPlaintextAddress,
            "captured connections from outside the mesh"
        ),
        address("ADMIN_ADDR", "admin", \.adminAddress, "administration"),
        address("STATS_ADDR", "stats", \.statsAddress, "/metrics"),
        address("READINESS_ADDR", "readiness", \.readinessAddress, "/healthz/ready"),
        toggle("UNSTABLE_ENABLE_SOCKS5", "", \.isSOCKS5Enabled, "a SOCKS5 port for clients"),
        Setting(
            variable: "SOCKS5_ADDR",
            flag: "socks5",
            form: "ADDRESS:PORT",
            help: "the SOCKS5 port (127.0.0.1:15080)",
            apply: { options, value in
                guard let address = socketAddress(value) else { return addressForm }
                options.socks5Address = address
                options.isSOCKS5Enabled = true
                return nil
            }
        ),
        number("HBONE_PORT", "hbone-port", \.hbonePort, 1...65535, "where peers take HBONE"),
        toggle("IPV6_ENABLED", "", \.isIPv6Enabled, "listen on [::] rather than 0.0.0.0"),
        text("NETWORK", "", \.network, "our network's name"),
        text("CLUSTER_ID", "", \.clusterID, "our cluster's name"),
        text("NODE_NAME", "node", \.nodeName, "whose workloads are ours, in shared mode"),
        number(
            "HTTP2_STREAM_WINDOW_SIZE",
            "",
            \.streamWindowBytes,
            65_535...(1 << 30),
            "bytes under way per stream"
        ),
        number(
            "HTTP2_CONNECTION_WINDOW_SIZE",
            "",
            \.connectionWindowBytes,
            65_535...(1 << 30),
            "and per connection"
        ),
        number("HTTP2_FRAME_SIZE", "", \.frameBytes, 16_384...16_777_215, "the largest frame"),
        number(
            "POOL_MAX_STREAMS_PER_CONNECTION",
            "",
            \.poolStreamsMax,
            1...65_535,
            "streams of one HBONE connection"
        ),
        duration(
            "POOL_UNUSED_RELEASE_TIMEOUT",
            \.poolUnusedRelease,
            "how long an unused HBONE connection is kept"
        ),
        Setting(
            variable: "ZTUNNEL_WORKER_THREADS",
            flag: "concurrency",
            form: "N",
            help: "worker threads",
            apply: { options, value in
                guard let count = Int(value), (1...1024).contains(count) else {
                    return "expected a number from 1 to 1024"
                }
                options.workers = count
                return nil
            }
        ),
        duration(
            "CONNECTION_TERMINATION_DEADLINE",
            \.terminationDeadline,
            "how long connections may last after a request to stop"
        ),
        Setting(
            variable: "PACKET_MARK",
            flag: "mark",
            form: "N",
            help: "mark our packets, so that they are not captured again",
            apply: { options, value in
                let isHex = value.hasPrefix("0x")
                guard
                    let mark = UInt32(
                        isHex ? value.dropFirst(2) : value[...],
                        radix: isHex ? 16 : 10
                    )
                else { return "expected a number" }
                options.packetMark = mark
                return nil
            }
        ),
        Setting(
            variable: "ENABLE_ORIG_SRC",
            flag: "",
            form: "true|false",
            help: "connect to workloads from the client's address (with PACKET_MARK)",
            apply: { options, value in
                guard let wanted = boolean(value) else { return booleanForm }
                options.usesOriginalSource = wanted
                return nil
            }
        ),
        toggle(
            "ENABLE_RESPONSE_BAGGAGE",
            "",
            \.sendsResponseBaggage,
            "tell clients who the workload is"
        ),
        toggle(
            "LOCALHOST_APP_TUNNEL",
            "",
            \.allowsLocalhostTunnel,
            "application tunnels by loopback"
        ),
        Setting(
            variable: "KEEPALIVE_ENABLED",
            flag: "",
            form: "true|false",
            help: "TCP keepalive",
            apply: { options, value in
                guard let wanted = boolean(value) else { return booleanForm }
                if !wanted { options.keepAlive = nil }
                return nil
            }
        ),
        keepAlive("KEEPALIVE_TIME", \.idleSeconds, "silence before the first probe"),
        keepAlive("KEEPALIVE_INTERVAL", \.intervalSeconds, "between probes"),
        Setting(
            variable: "KEEPALIVE_RETRIES",
            flag: "",
            form: "N",
            help: "probes",
            apply: { options, value in
                guard let count = Int32(value), count > 0 else {
                    return "expected a number above 0"
                }
                options.keepAlive?.probes = count
                return nil
            }
        ),
        toggle("USER_TIMEOUT_ENABLED", "", \.isUserTimeoutEnabled, "TCP_USER_TIMEOUT"),
        toggle("FAKE_CA", "fake-ca", \.usesDevelopmentAuthority, "issue certificates ourselves"),
        optionalText(
            "FAKE_CA_DIR",
            "fake-ca-dir",
            \.authorityDirectory,
            "share the development authority with other agents"
        ),
        optionalText(
            "CERTIFICATE_DIR",
            "certificates",
            \.certificateDirectory,
            "certificates of workloads, see docs/ztunnel-identity.md"
        ),
        duration("SECRET_TTL", \.certificateLifetime, "how long issued certificates are valid"),
        toggle("TLS12_ENABLED", "", \.allowsTLS12, "TLS 1.2 beside 1.3"),
        optionalText("CRL_PATH", "crl", \.revocationListPath, "revoked certificates, PEM"),
        Setting(
            variable: "RUST_LOG",
            flag: "log-level",
            form: "LEVELS",
            help: "off, error, warn, info, debug, trace, for all scopes or some: info,access=warn",
            apply: { options, value in
                do throws(LogFilter.Problem) {
                    options.logFilter = try LogFilter(value)
                    return nil
                } catch {
                    return error.description
                }
            }
        ),
        choice("LOG_FORMAT", "", \.logFormat, "how log lines look"),
    ]

    /// Variables of ztunnel for what does not exist here: set, they would promise something.
    static let unsupported: [(name: String, reason: String)] = [
        ("XDS_ADDRESS", "there is no control plane here; name a file in LOCAL_XDS_PATH"),
        ("CA_ADDRESS", "certificates come from FAKE_CA or CERTIFICATE_DIR"),
        ("INPOD_UDS", "workloads are told apart by address, not by namespaces handed over"),
        ("XDS_ON_DEMAND", "there is no control plane here"),
        ("ISTIO_META_DNS_CAPTURE", "names are not resolved here"),
        ("PROXY_CONFIG", "set the variables themselves"),
    ]

    /// Values of ``unsupported`` that ask for nothing.
    static func asksForNothing(_ value: String) -> Bool { value.isEmpty || boolean(value) == false }
}

// MARK: - Kinds of settings

extension ZtunnelOptions {
    private typealias Path<Value> = any WritableKeyPath<ZtunnelOptions, Value> & Sendable

    static let addressForm = "expected ADDRESS:PORT, such as 127.0.0.1:15001 or [::]:15001"
    static let booleanForm = "expected true or false"

    private static func address(
        _ variable: String,
        _ flag: String,
        _ path: Path<SocketAddress>,
        _ help: String
    ) -> Setting {
        Setting(variable: variable, flag: flag, form: "ADDRESS:PORT", help: help) {
            guard let address = socketAddress($1) else { return addressForm }
            $0[keyPath: path] = address
            return nil
        }
    }

    private static func toggle(
        _ variable: String,
        _ flag: String,
        _ path: Path<Bool>,
        _ help: String
    ) -> Setting {
        Setting(variable: variable, flag: flag, form: "true|false", help: help) {
            guard let value = boolean($1) else { return booleanForm }
            $0[keyPath: path] = value
            return nil
        }
    }

    private static func number<Value: FixedWidthInteger & Sendable>(
        _ variable: String,
        _ flag: String,
        _ path: Path<Value>,
        _ range: ClosedRange<Int>,
        _ help: String
    ) -> Setting {
        Setting(variable: variable, flag: flag, form: "N", help: help) {
            guard let value = Int($1), range.contains(value) else {
                return "expected a number from \(range.lowerBound) to \(range.upperBound)"
            }
            $0[keyPath: path] = Value(value)
            return nil
        }
    }

    private static func text(
        _ variable: String,
        _ flag: String,
        _ path: Path<String>,
        _ help: String
    ) -> Setting {
        Setting(variable: variable, flag: flag, form: "NAME", help: help) {
            $0[keyPath: path] = $1
            return nil
        }
    }

    private static func optionalText(
        _ variable: String,
        _ flag: String,
        _ path: Path<String?>,
        _ help: String
    ) -> Setting {
        Setting(variable: variable, flag: flag, form: "PATH", help: help) {
            $0[keyPath: path] = $1.isEmpty ? nil : $1
            return nil
        }
    }

    private static func duration(
        _ variable: String,
        _ path: Path<Nanoseconds>,
        _ help: String
    ) -> Setting {
        Setting(variable: variable, flag: "", form: "DURATION", help: help) {
            guard let value = nanoseconds($1) else { return durationForm }
            $0[keyPath: path] = value
            return nil
        }
    }

    private static func keepAlive(
        _ variable: String,
        _ path: any WritableKeyPath<SocketOptions.KeepAlive, Int32?> & Sendable,
        _ help: String
    ) -> Setting {
        Setting(variable: variable, flag: "", form: "DURATION", help: help) {
            guard let value = nanoseconds($1), value >= .seconds(1) else {
                return "\(durationForm), a second at least"
            }
            $0.keepAlive?[keyPath: path] = Int32(clamping: value.count / 1_000_000_000)
            return nil
        }
    }

    private static func choice<Value>(
        _ variable: String,
        _ flag: String,
        _ path: Path<Value>,
        _ help: String
    ) -> Setting
    where Value: RawRepresentable & CaseIterable & Sendable, Value.RawValue == String {
        let names = Value.allCases.map(\.rawValue)
        return Setting(
            variable: variable,
            flag: flag,
            form: names.joined(separator: "|"),
            help: help
        ) {
            guard let value = Value(rawValue: $1.lowercased()) else {
                return "expected \(names.joined(separator: " or "))"
            }
            $0[keyPath: path] = value
            return nil
        }
    }

    // MARK: Values

    static let durationForm = "expected a duration such as 500ms, 10s, 5m or 24h"

    /// `10s`, `1h30m`, or plain seconds.
    static func nanoseconds(_ text: String) -> Nanoseconds? {
        if let seconds = Int64(text), (0...1_000_000_000).contains(seconds) {
            return .seconds(seconds)
        }
        var total: Int64 = 0
        var rest = text[...]
        guard !rest.isEmpty else { return nil }
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isASCII && $0.isNumber }
            rest = rest.dropFirst(digits.count)
            let unit = rest.prefix { $0.isLetter }
            rest = rest.dropFirst(unit.count)
            guard let count = Int64(digits), count < 1_000_000_000, let scale = units[String(unit)]
            else { return nil }
            let (product, overflows) = count.multipliedReportingOverflow(by: scale)
            guard !overflows, total <= Int64.max - product else { return nil }
            total += product
        }
        return Nanoseconds(total)
    }

    private static let units: [String: Int64] = [
        "ns": 1, "us": 1000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000,
        "h": 3_600_000_000_000, "d": 86_400_000_000_000,
    ]

    static func boolean(_ text: String) -> Bool? {
        switch text.lowercased() {
        case "true", "1", "yes", "on", "y", "t": true
        case "false", "0", "no", "off", "n", "f": false
        default: nil
        }
    }

    static func socketAddress(_ text: String) -> SocketAddress? {
        guard let colon = text.lastIndex(of: ":"),
            let port = UInt16(text[text.index(after: colon)...])
        else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
            guard let address = IPAddress(String(host)), address.isIPv6 else { return nil }
            return .ip(address, port: port)
        }
        if host == "localhost" { host = "127.0.0.1" }
        guard let address = IPAddress(String(host)), !address.isIPv6 else { return nil }
        return .ip(address, port: port)
    }
}
