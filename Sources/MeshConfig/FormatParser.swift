/// Cuts a format string into its parts: `%NAME(parameters):length%`, and `%%` for a percent sign.
struct FormatParser {
    private let text: String
    private var rest: ArraySlice<Unicode.Scalar>

    init(_ text: String) {
        self.text = text
        rest = Array(text.unicodeScalars)[...]
    }

    mutating func parse() throws(FormatError) -> [FormatPart] {
        var parts: [FormatPart] = []
        var literal = ""
        while let character = rest.popFirst() {
            guard character == "%" else {
                literal.unicodeScalars.append(character)
                continue
            }
            if rest.first == "%" {
                rest.removeFirst()
                literal += "%"
                continue
            }
            if !literal.isEmpty { parts.append(.literal(literal)) }
            literal = ""
            parts.append(try parseOperator())
        }
        if !literal.isEmpty { parts.append(.literal(literal)) }
        return parts
    }

    /// An operator as written: its name, what its parentheses hold, and the length after the colon.
    private struct Call {
        let name: String
        let parameters: String?
        let lengthMax: Int?
    }

    private mutating func parseOperator() throws(FormatError) -> FormatPart {
        let call = try parseCall()
        switch call.name {
        case "REQ", "REQUEST_HEADER": return try header(.request, call)
        case "REQ_WITHOUT_QUERY": return try header(.requestWithoutQuery, call)
        case "RESP", "RESPONSE_HEADER": return try header(.response, call)
        case "TRAILER", "RESPONSE_TRAILER": return try header(.trailer, call)
        case "START_TIME": return try time(.start, call)
        case "EMIT_TIME": return try time(.emit, call)
        case "DOWNSTREAM_PEER_CERT_V_START": return try time(.downstreamPeerCertStart, call)
        case "DOWNSTREAM_PEER_CERT_V_END": return try time(.downstreamPeerCertEnd, call)
        case "UPSTREAM_PEER_CERT_V_START": return try time(.upstreamPeerCertStart, call)
        case "UPSTREAM_PEER_CERT_V_END": return try time(.upstreamPeerCertEnd, call)
        case "COMMON_DURATION": return try commonDuration(call)
        case "DYNAMIC_METADATA": return try metadata(.dynamic, try required(call), call)
        case "CLUSTER_METADATA": return try metadata(.cluster, try required(call), call)
        case "UPSTREAM_METADATA": return try metadata(.upstreamHost, try required(call), call)
        case "METADATA":
            let (kind, path) = Self.cut(try required(call), at: ":")
            return try metadata(try choice(kind, call), path ?? "", call)
        case "FILTER_STATE": return try filterState(call)
        case "ENVIRONMENT":
            return .environment(name: try required(call), lengthMax: call.lengthMax)
        case "GRPC_STATUS":
            try refuseLength(call)
            return .grpcStatus(try optionalChoice(call) ?? .camel)
        case "REQUESTED_SERVER_NAME":
            try refuseLength(call)
            return .requestedServerName(
                try optionalChoice(call) ?? .serverNameOnly
            )
        case "PATH": return try path(call)
        case "QUERY_PARAM":
            return .queryParameter(name: try required(call), lengthMax: call.lengthMax)
        default: return try field(call)
        }
    }

    private mutating func parseCall() throws(FormatError) -> Call {
        var name = ""
        while let next = rest.first, Self.isName(next) {
            name.unicodeScalars.append(next)
            rest.removeFirst()
        }
        guard !name.isEmpty else { throw malformed("a % that begins no operator; write %% for %") }
        var parameters: String?
        if rest.first == "(" {
            rest.removeFirst()
            var inner = ""
            // A parenthesis ends the parameters only before ":" or "%": patterns may contain others.
            while let next = rest.popFirst() {
                if next == ")", rest.first == "%" || rest.first == ":" {
                    parameters = inner
                    break
                }
                inner.unicodeScalars.append(next)
            }
            guard parameters != nil else { throw malformed("%\(name)( is not closed by )%") }
        }
        var lengthMax: Int?
        if rest.first == ":" {
            rest.removeFirst()
            var digits = ""
            while let next = rest.first, ("0"..."9").contains(next) {
                digits.unicodeScalars.append(next)
                rest.removeFirst()
            }
            guard let length = Int(digits) else {
                throw malformed("%\(name)%: a length must follow the colon")
            }
            lengthMax = length
        }
        guard rest.popFirst() == "%" else { throw malformed("%\(name) is not closed by %") }
        return Call(name: name, parameters: parameters, lengthMax: lengthMax)
    }

    // MARK: Operators

    private func field(_ call: Call) throws(FormatError) -> FormatPart {
        guard let field = FormatField(rawValue: call.name) else {
            throw malformed(
                "%\(call.name)% is not an operator we know"
                    + (Self.nearest(call.name).map { "; did you mean %\($0)%?" } ?? "")
            )
        }
        guard call.parameters == nil, call.lengthMax == nil else {
            throw malformed("%\(call.name)% takes neither parameters nor a length")
        }
        return .field(field)
    }

    private func header(
        _ source: FormatHeaderSource,
        _ call: Call
    ) throws(FormatError) -> FormatPart {
        let names = try required(call).split(
            separator: "?",
            omittingEmptySubsequences: false
        )
        guard names.count <= 2 else {
            throw malformed("%\(call.name)%: more than one alternative header")
        }
        return .header(
            source,
            name: names[0].lowercased(),
            alternative: names.count == 2 ? names[1].lowercased() : nil,
            lengthMax: call.lengthMax
        )
    }

    private func time(_ time: FormatTime, _ call: Call) throws(FormatError) -> FormatPart {
        try refuseLength(call)
        guard let pattern = call.parameters, !pattern.isEmpty else { return .time(time, .standard) }
        return .time(time, try TimeFormat.parse(pattern))
    }

    private func commonDuration(_ call: Call) throws(FormatError) -> FormatPart {
        try refuseLength(call)
        let words = try required(call).split(separator: ":", omittingEmptySubsequences: false)
        guard (2...3).contains(words.count) else {
            throw malformed("%COMMON_DURATION% takes two points in time and a unit")
        }
        return .commonDuration(
            from: try choice(String(words[0]), call),
            to: try choice(String(words[1]), call),
            unit: words.count == 3 ? try choice(String(words[2]), call) : .milliseconds
        )
    }

    private func metadata(
        _ source: FormatMetadataSource,
        _ path: String,
        _ call: Call
    ) throws(FormatError) -> FormatPart {
        var words = path.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard !words.isEmpty, !words[0].isEmpty else {
            throw malformed("%\(call.name)% needs a namespace")
        }
        let namespace = words.removeFirst()
        return .metadata(source, namespace: namespace, path: words, lengthMax: call.lengthMax)
    }

    private func filterState(_ call: Call) throws(FormatError) -> FormatPart {
        let (key, form) = Self.cut(try required(call), at: ":")
        guard !key.isEmpty else { throw malformed("%FILTER_STATE% needs a key") }
        var shown = FilterStateForm.typed
        switch form {
        case nil, "TYPED": break
        case "PLAIN": shown = .plain
        case let form?:
            let (word, field) = Self.cut(form, at: ":")
            guard word == "FIELD", let field, !field.isEmpty else {
                throw malformed(
                    "%FILTER_STATE%: \"\(form)\" is none of PLAIN, TYPED and FIELD: with a name"
                )
            }
            shown = .field(field)
        }
        return .filterState(key: key, shown, lengthMax: call.lengthMax)
    }

    private func path(_ call: Call) throws(FormatError) -> FormatPart {
        let words = (call.parameters ?? "").split(
            separator: ":",
            omittingEmptySubsequences: false
        )
        guard words.count <= 2 else { throw malformed("%PATH% takes at most two parameters") }
        let mode = words.first.map(String.init) ?? ""
        return .path(
            withQuery: mode.isEmpty ? .with : try choice(mode, call),
            words.count == 2 ? try choice(String(words[1]), call) : .originalOrPath,
            lengthMax: call.lengthMax
        )
    }

    // MARK: Parameters

    private func required(_ call: Call) throws(FormatError) -> String {
        guard let parameters = call.parameters, !parameters.isEmpty else {
            throw malformed("%\(call.name)% needs parameters in parentheses")
        }
        return parameters
    }

    private func refuseLength(_ call: Call) throws(FormatError) {
        if call.lengthMax != nil { throw malformed("%\(call.name)% takes no length") }
    }

    private func choice<E: CaseIterable & RawRepresentable>(
        _ word: String,
        _ call: Call
    ) throws(FormatError) -> E where E.RawValue == String {
        guard let value = E(rawValue: word) else {
            let known = E.allCases.map(\.rawValue).joined(separator: ", ")
            throw malformed("%\(call.name)%: \"\(word)\" is none of \(known)")
        }
        return value
    }

    private func optionalChoice<E: CaseIterable & RawRepresentable>(
        _ call: Call
    ) throws(FormatError) -> E? where E.RawValue == String {
        guard let word = call.parameters, !word.isEmpty else { return nil }
        return try choice(word, call)
    }

    private func malformed(_ reason: String) -> FormatError {
        FormatError(description: "format \(ConfigNode.quoted(text)): \(reason)")
    }

    private static func cut(_ text: String, at separator: Character) -> (String, String?) {
        let halves = text.split(
            separator: separator,
            maxSplits: 1,
            omittingEmptySubsequences: false
        )
        return (String(halves[0]), halves.count == 2 ? String(halves[1]) : nil)
    }

    private static func isName(_ character: Unicode.Scalar) -> Bool {
        ("A"..."Z").contains(character) || ("0"..."9").contains(character) || character == "_"
    }

    /// The operator that shares the longest beginning, if it is most of the name.
    private static func nearest(_ name: String) -> String? {
        func shared(_ other: String) -> Int { zip(name, other).prefix { $0 == $1 }.count }
        guard let best = FormatField.allCases.map(\.rawValue).max(by: { shared($0) < shared($1) }),
            shared(best) * 3 >= name.count * 2
        else { return nil }
        return best
    }
}
