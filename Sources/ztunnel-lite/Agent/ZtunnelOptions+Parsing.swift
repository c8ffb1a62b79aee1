extension ZtunnelOptions {
    /// What the command line asks for.
    package enum Action: Sendable {
        case run(ZtunnelOptions)
        /// Print this and exit with 0.
        case print(String)
        /// Print these to standard error and exit with 1.
        case refuse([String])
    }

    /// Reads the environment, then the arguments after the program's name. Pure: nothing is printed.
    /// Every mistake is reported at once.
    package static func parse(
        _ arguments: [String],
        environment: (String) -> String?,
        version: String
    ) -> Action {
        var options = ZtunnelOptions()
        var problems: [String] = []
        for (name, reason) in unsupported {
            if let value = environment(name), !asksForNothing(value) {
                problems.append("\(name) is not supported: \(reason)")
            }
        }
        for setting in settings where !setting.variable.isEmpty {
            guard let value = environment(setting.variable) else { continue }
            if let problem = setting.apply(&options, value) {
                problems.append("\(setting.variable)=\(value): \(problem)")
            }
        }
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            switch argument {
            case "-h", "--help": return .print(help)
            case "--version": return .print("ztunnel-lite \(version)\n")
            case "--check": options.checksOnly = true
            case "--addresses": options.listsAddresses = true
            // ztunnel's only command.
            case "proxy" where rest.isEmpty: continue
            default:
                problems += options.take(argument, &rest)
            }
        }
        problems += options.contradictions
        return problems.isEmpty ? .run(options) : .refuse(problems)
    }

    private mutating func take(_ argument: String, _ rest: inout ArraySlice<String>) -> [String] {
        let body = argument.drop { $0 == "-" }
        let halves = body.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let name = halves.first.map(String.init) ?? ""
        guard argument.hasPrefix("-"), !name.isEmpty,
            let setting = Self.settings.first(where: { $0.flag == name })
        else { return ["unknown argument \(argument); see --help"] }
        let value: String
        if halves.count == 2 {
            value = String(halves[1])
        } else if setting.form == "true|false", rest.first.flatMap(Self.boolean) == nil {
            value = "true"
        } else if let next = rest.popFirst() {
            value = next
        } else {
            return ["\(argument) needs a value: \(setting.form)"]
        }
        guard let problem = setting.apply(&self, value) else { return [] }
        return ["\(argument) \(value): \(problem)"]
    }

    /// What does not go together.
    private var contradictions: [String] {
        var problems: [String] = []
        if source == nil { problems.append("no mesh: name a file with -c or LOCAL_XDS_PATH") }
        if mode == .dedicated, workload == nil {
            problems.append("dedicated mode needs PROXY_WORKLOAD_INFO or --workload")
        }
        if usesDevelopmentAuthority, certificateDirectory != nil {
            problems.append("FAKE_CA and CERTIFICATE_DIR exclude each other")
        }
        if !usesDevelopmentAuthority, certificateDirectory == nil {
            problems.append("no identity: set FAKE_CA=true, or CERTIFICATE_DIR to a directory")
        }
        if connectionWindowBytes < streamWindowBytes {
            // Two streams that wait for each other could share out a window that is no larger.
            problems.append(
                "HTTP2_CONNECTION_WINDOW_SIZE is below HTTP2_STREAM_WINDOW_SIZE: streams could"
                    + " block each other"
            )
        }
        return problems
    }

    package static var help: String {
        var text = """
            usage: ztunnel-lite -c FILE [options]

            The L4 agent of an ambient mesh: carries captured connections to other nodes over HBONE
            (HTTP/2 CONNECT over mTLS), and takes them there, if policy allows.

            Each option has a flag, a variable of the environment (ztunnel's where it has one), or both.

              --check      check the mesh's file and everything it names, and exit
              --addresses  print the addresses of the workloads this agent is for, and exit
              --version    print the version
              -h, --help   print this


            """
        for setting in settings {
            let dashes = setting.flag.count == 1 ? "-" : "--"
            let names = [setting.flag.isEmpty ? "" : dashes + setting.flag, setting.variable]
                .filter { !$0.isEmpty }
            text += "  \(names.joined(separator: ", ")) \(setting.form)\n        \(setting.help)\n"
        }
        return text
    }
}
