import MeshConfig

extension Admin {
    /// POST /logging: sets levels, and lists them all.
    func logging(_ request: AdminRequest) -> AdminResponse {
        let problem =
            request.query.count > 1
            ? "give one of level and paths"
            : request.query.first.flatMap { change($0.name, $0.value) }
        if let problem {
            return AdminResponse(
                status: 400,
                """
                \(problem)
                usage: /logging?level=<level> (change all levels)
                usage: /logging?paths=name1:level1,name2:level2 (change some levels)
                usage: /logging?<name>=<level> (change one level)
                usage: /logging (list levels)
                levels: \(LogLevel.allCases.map(\.name).joined(separator: " "))

                """
            )
        }
        var text = "active loggers:\n"
        for component in LogComponent.allCases {
            text += "  \(component.name): \(state.log.level(of: component).name)\n"
        }
        return AdminResponse(text + "\n")
    }

    /// Returns what is wrong, having changed nothing then.
    private func change(_ name: String, _ value: String) -> String? {
        switch name {
        case "level":
            guard let level = LogLevel(name: value) else { return "unknown level: \(value)" }
            state.log.setLevel(level)
        case "paths":
            var changes: [(LogComponent?, LogLevel)] = []
            for pair in value.split(separator: ",") {
                let halves = pair.split(separator: ":", maxSplits: 1)
                guard halves.count == 2 else { return "not <name>:<level>: \(pair)" }
                switch parse(String(halves[0]), String(halves[1])) {
                case .success(let change): changes.append(change)
                case .failure(let problem): return problem.text
                }
            }
            changes.forEach(apply)
        default:
            switch parse(name, value) {
            case .success(let change): apply(change)
            case .failure(let problem): return problem.text
            }
        }
        return nil
    }

    private struct Problem: Error { let text: String }

    /// Nil for a component of Envoy that has no lines here.
    private func parse(
        _ name: String,
        _ level: String
    ) -> Result<(LogComponent?, LogLevel), Problem> {
        guard let level = LogLevel(name: level) else {
            return .failure(Problem(text: "unknown level: \(level)"))
        }
        if let component = LogComponent(name) { return .success((component, level)) }
        guard LogComponent.unused.contains(name) else {
            return .failure(Problem(text: "unknown logger: \(name)"))
        }
        return .success((nil, level))
    }

    private func apply(_ change: (component: LogComponent?, level: LogLevel)) {
        guard let component = change.component else { return }
        state.log.setLevel(change.level, of: component)
    }
}
