import MeshNet

/// Which peers count as internal (envoy: InternalAddressConfig).
package struct InternalAddressConfig: Hashable, Sendable {
    package let includesUnixSockets: Bool
    package let networks: [CIDR]

    init(_ object: ConfigObject?) {
        includesUnixSockets = object?.bool("unix_sockets") ?? false
        networks = (object?.objects("cidr_ranges") ?? []).compactMap { CIDR.decode($0) }
    }
}

/// A way to find the client's address (envoy: http.original_ip_detection).
package enum OriginalIPDetectionConfig: Hashable, Sendable {
    /// In `x-forwarded-for`, as many entries from the right as there are trusted hops.
    case forwardedFor(trustedHops: Int, skipsAppend: Bool)
    /// In `x-forwarded-for`, the first from the right that is in none of these networks.
    case forwardedForTrusted(networks: [CIDR], skipsAppend: Bool)
    /// In this header, lower case.
    case header(name: String, isTrusted: Bool, rejectStatus: Int?)

    static func decode(_ object: ConfigObject) -> OriginalIPDetectionConfig? {
        _ = object.string("name")
        guard let (type, config) = object.typedConfig() else { return nil }
        switch type {
        case "envoy.extensions.http.original_ip_detection.xff.v3.XffConfig":
            let skips = config.bool("skip_xff_append", default: true)
            let hops = Int(config.uint32("xff_num_trusted_hops", default: 0))
            guard let trusted = config.object("xff_trusted_cidrs") else {
                return .forwardedFor(trustedHops: hops, skipsAppend: skips)
            }
            if hops > 0 { config.error("excludes xff_num_trusted_hops", at: "xff_trusted_cidrs") }
            let networks = trusted.objects("cidrs").compactMap { CIDR.decode($0) }
            return .forwardedForTrusted(networks: networks, skipsAppend: skips)
        case "envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig":
            let name = config.requiredString("header_name")
            if !name.isEmpty, let problem = HeaderNameRule.problem(name) {
                config.error(problem, at: "header_name")
            }
            let trusted = config.bool("allow_extension_to_set_address_as_trusted", default: false)
            return .header(
                name: name.lowercased(),
                isTrusted: trusted,
                rejectStatus: rejectStatus(config)
            )
        default:
            object.error("original IP detection \"\(type)\" is not implemented")
            return nil
        }
    }

    private static func rejectStatus(_ config: ConfigObject) -> Int? {
        guard let status = config.object("reject_with_status") else { return nil }
        let code = status.enumeration("code", ErrorStatus.self)?.rawValue ?? 0
        // As Envoy: anything that is no error becomes 403.
        return (400..<600).contains(code) ? code : 403
    }

    /// Values of type.v3.StatusCode that are errors, and the default.
    private enum ErrorStatus: Int, ConfigEnum {
        case empty = 0
        case badRequest = 400
        case unauthorized, paymentRequired, forbidden, notFound, methodNotAllowed, notAcceptable
        case proxyAuthenticationRequired, requestTimeout, conflict, gone, lengthRequired
        case preconditionFailed, payloadTooLarge, uriTooLong, unsupportedMediaType
        case rangeNotSatisfiable, expectationFailed
        case misdirectedRequest = 421
        case unprocessableEntity, locked, failedDependency
        case upgradeRequired = 426
        case preconditionRequired = 428
        case tooManyRequests = 429
        case requestHeaderFieldsTooLarge = 431
        case internalServerError = 500
        case notImplemented, badGateway, serviceUnavailable, gatewayTimeout
        case httpVersionNotSupported, variantAlsoNegotiates, insufficientStorage, loopDetected
        case notExtended = 510
        case networkAuthenticationRequired = 511

        var name: String {
            switch self {
            case .uriTooLong: return "URITooLong"
            case .httpVersionNotSupported: return "HTTPVersionNotSupported"
            default:
                let text = String(describing: self)
                return text.prefix(1).uppercased() + text.dropFirst()
            }
        }
    }
}

/// What is told to the upstream about the client's certificate, in `x-forwarded-client-cert`
/// (envoy: forward_client_cert_details, set_current_client_cert_details).
package struct ForwardClientCertConfig: Hashable, Sendable {
    package enum Mode: Int, ConfigEnum {
        case sanitize
        case forwardOnly
        case appendForward
        case sanitizeSet
        case alwaysForwardOnly
    }

    package let mode: Mode
    package let includesSubject: Bool
    package let includesCertificate: Bool
    package let includesChain: Bool
    package let includesDNS: Bool
    package let includesURI: Bool
    package let includesIssuer: Bool

    init(_ manager: ConfigObject) {
        mode = manager.enumeration("forward_client_cert_details", Mode.self) ?? .sanitize
        let details = manager.object("set_current_client_cert_details")
        includesSubject = details?.bool("subject") ?? false
        includesCertificate = details?.bool("cert") ?? false
        includesChain = details?.bool("chain") ?? false
        includesDNS = details?.bool("dns") ?? false
        includesURI = details?.bool("uri") ?? false
        includesIssuer = details?.bool("issuer") ?? false
        details?.unsupported("format", "only the text form is written") { $0.stringValue == "TEXT" }
        if details != nil, mode != .appendForward, mode != .sanitizeSet {
            manager.warning(
                "has an effect only with forward_client_cert_details APPEND_FORWARD or SANITIZE_SET",
                at: "set_current_client_cert_details"
            )
        }
    }
}

/// A protocol a connection may switch to (envoy: HttpConnectionManager.UpgradeConfig).
package struct UpgradeConfig: Hashable, Sendable {
    /// Lower case, e.g. `websocket`.
    package let type: String
    package let isEnabled: Bool

    init(_ object: ConfigObject) {
        type = object.requiredString("upgrade_type").lowercased()
        isEnabled = object.bool("enabled", default: true)
        object.unsupported("filters", "upgraded streams pass the same HTTP filters as all others")
    }

    /// Reports types that `upgrade_configs` of `object` names twice.
    static func checkUnique(_ object: ConfigObject, _ types: [String]) {
        var seen: Set<String> = []
        for (type, child) in zip(types, object.objects("upgrade_configs"))
        where !seen.insert(type).inserted {
            child.error("\(ConfigNode.quoted(type)) is given twice", at: "upgrade_type")
        }
    }
}

/// Ports that tell the scheme to whoever terminates TLS before us (envoy: ForwardProtoConfig).
package struct ForwardedProtoConfig: Hashable, Sendable {
    package let httpsPorts: [UInt16]
    package let httpPorts: [UInt16]

    init(_ object: ConfigObject?) {
        func ports(_ key: String) -> [UInt16] {
            (object?.uint32s(key) ?? []).map { port in
                if port > 65_535 { object?.error("\(port) is not a port", at: key) }
                return UInt16(truncatingIfNeeded: port)
            }
        }
        httpsPorts = ports("https_destination_ports")
        httpPorts = ports("http_destination_ports")
    }
}
