import MeshConfig
import MeshHTTP
import MeshNet

extension FormatValues {
    /// Operators that look things up by name and may allocate.
    static func append(
        _ part: FormatPart,
        _ context: FormatContext,
        _ buffer: inout ByteBuffer
    ) -> FormatValueKind {
        switch part {
        case .metadata(let source, let namespace, let path, let lengthMax):
            return metadata(source, namespace, path, context).map {
                append($0, lengthMax, &buffer)
            } ?? .absent
        case .filterState(let key, let form, let lengthMax):
            guard let value = context.stream.filterStateObject(key) else { return .absent }
            switch form {
            case .plain: return append(.string(value.text), lengthMax, &buffer)
            case .field(let name):
                return value.field(name).map { append($0, lengthMax, &buffer) } ?? .absent
            case .typed: break
            }
            if let json = value.json {
                if json.isEmpty { return .absent }
                buffer.append(String(json.prefix(lengthMax ?? .max)))
                return .json
            }
            var json = JSONWriter()
            json.string(value.text)
            let written = json.finish()
            buffer.append(Bytes(rebasing: written.bytes.prefix(lengthMax ?? .max)))
            return .json
        case .grpcStatus(let form):
            guard let status = GRPCStatus.of(context) else { return .absent }
            guard form != .number, let code = GRPCStatusCode(rawValue: status) else {
                buffer.append(decimal: status)
                return form == .number ? .json : .text
            }
            buffer.append(form == .snake ? code.snake : code.camel)
            return .text
        case .requestedServerName(let choice):
            return serverName(choice, context, &buffer)
        case .path(let mode, let source, let lengthMax):
            return path(mode, source, lengthMax, context, &buffer)
        case .queryParameter(let name, let lengthMax):
            guard let query = context.requestHead.flatMap({ Self.query($0[.path]) }),
                let value = parameter(name, query)
            else { return .absent }
            return append(.string(value), lengthMax, &buffer)
        default:
            return .absent
        }
    }

    private static func metadata(
        _ source: FormatMetadataSource,
        _ namespace: String,
        _ path: [String],
        _ context: FormatContext
    ) -> MetadataValue? {
        let stream = context.stream
        var value: MetadataValue?
        switch source {
        case .dynamic: value = stream.dynamicMetadata[namespace].map { .structure($0) }
        case .route: value = stream.routeMetadata[namespace].map { .structure($0) }
        case .cluster: value = fixed(stream.cluster?.metadata, namespace)
        case .upstreamHost: value = stream.upstreamHostMetadata[namespace].map { .structure($0) }
        case .virtualHost: value = fixed(stream.route?.virtualHostMetadata, namespace)
        case .listener: value = fixed(stream.connection.listenerMetadata, namespace)
        case .filterChain: value = fixed(stream.connection.filterChainMetadata, namespace)
        }
        for key in path {
            guard case .structure(let members) = value else { return nil }
            value = members[key]
        }
        return value
    }

    private static func fixed(_ metadata: MetadataConfig?, _ namespace: String) -> MetadataValue? {
        guard let metadata, let value = metadata.filters[namespace] else { return nil }
        return MetadataValue(value)
    }

    /// Text as it is, anything else as JSON.
    private static func append(
        _ value: MetadataValue,
        _ lengthMax: Int?,
        _ buffer: inout ByteBuffer
    ) -> FormatValueKind {
        if case .string(var text) = value {
            text.withUTF8 { buffer.append(Bytes(rebasing: Bytes($0).prefix(lengthMax ?? .max))) }
            return .text
        }
        var json = JSONWriter()
        value.write(to: &json)
        let written = json.finish()
        buffer.append(Bytes(rebasing: written.bytes.prefix(lengthMax ?? .max)))
        return .json
    }

    private static func serverName(
        _ choice: FormatServerName,
        _ context: FormatContext,
        _ buffer: inout ByteBuffer
    ) -> FormatValueKind {
        let name = context.stream.connection.requestedServerName
        let host = context.requestHead?[.authority]
        let usesName =
            switch choice {
            case .serverNameOnly: true
            case .serverNameFirst: !name.isEmpty
            case .hostOnly: false
            case .hostFirst: host == nil
            }
        if usesName {
            guard !name.isEmpty else { return .absent }
            buffer.append(name)
            return .text
        }
        guard let host else { return .absent }
        buffer.append(host)
        return .text
    }

    private static func path(
        _ mode: FormatQueryMode,
        _ source: FormatPathSource,
        _ lengthMax: Int?,
        _ context: FormatContext,
        _ buffer: inout ByteBuffer
    ) -> FormatValueKind {
        guard let head = context.requestHead else { return .absent }
        let found =
            switch source {
            case .path: head[.path]
            case .original: head[.envoyOriginalPath]
            case .originalOrPath: head[.envoyOriginalPath] ?? head[.path]
            }
        guard var value = found else { return .absent }
        if mode == .without { value = PathMatch.withoutQuery(value) }
        buffer.append(Bytes(rebasing: value.prefix(lengthMax ?? .max)))
        return .text
    }

    /// The first parameter of that name, percent-decoded.
    private static func parameter(_ name: String, _ query: Bytes) -> String? {
        for pair in query.split(separator: UInt8(ascii: "&")) {
            let halves = pair.split(
                separator: UInt8(ascii: "="),
                maxSplits: 1,
                omittingEmptySubsequences: false
            )
            guard decoded(halves[0]) == name else { continue }
            return halves.count == 2 ? decoded(halves[1]) : ""
        }
        return nil
    }

    private static func decoded(_ text: Slice<Bytes>) -> String {
        var bytes: [UInt8] = []
        var rest = text[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%"), rest.count >= 2,
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension MetadataValue {
    /// Members by name, so that the text is always the same.
    package func write(to json: inout JSONWriter) {
        switch self {
        case .null: json.null()
        case .bool(let value): json.bool(value)
        case .number(let value): json.number(value)
        case .string(let value): json.string(value)
        case .list(let values):
            json.beginArray()
            for value in values { value.write(to: &json) }
            json.endArray()
        case .structure(let members):
            json.beginObject()
            for (key, value) in members.sorted(by: { $0.key < $1.key }) {
                json.key(key)
                value.write(to: &json)
            }
            json.endObject()
        }
    }
}
