import MeshConfig
import MeshNet
import MeshRuntime
import Testing

struct AdminTests {
    private func configuration(_ json: String) -> ConfigValue {
        let diagnostics = ConfigDiagnostics()
        guard let node = JSONParser.parse(Array(json.utf8), diagnostics: diagnostics) else {
            Issue.record("\(diagnostics.errors)")
            return .null
        }
        return ConfigValue(node)
    }

    private func state(_ json: String = "{}") -> AdminState {
        AdminState(
            stats: StatsRegistry(workers: 1),
            version: "1/2/OpenSSL",
            configuration: configuration(json),
            loadedAt: WallTime(nanoseconds: 1_795_222_606_661_000_000),
            log: Log(output: { _ in })
        )
    }

    private func ask(
        _ state: AdminState,
        _ target: String,
        method: String = "GET"
    ) -> (status: Int, body: String) {
        let response = Admin(state).respond(to: AdminRequest(method: method, target: target))
        return (response.status, String(bytes: response.body.bytes))
    }

    @Test(arguments: [
        "/quitquitquit", "/healthcheck/fail", "/healthcheck/ok", "/reset_counters", "/logging",
        "/drain_listeners", "/reopen_logs", "/runtime_modify", "/explain",
    ])
    func `what changes something wants POST`(path: String) {
        let answer = ask(state(), path)
        #expect(answer.status == 405)
        #expect(answer.body == "Method GET not allowed, POST required.")
    }

    @Test func `an unknown path is answered with the help`() {
        let answer = ask(state(), "/nope")
        #expect(answer.status == 404)
        #expect(answer.body.hasPrefix("invalid path. admin commands are:\n  /: Admin home page\n"))
        #expect(ask(state(), "/help").status == 200)
    }

    @Test func `paths outside allow_paths are refused`() {
        let state = AdminState(
            stats: StatsRegistry(workers: 1),
            version: "",
            configuration: .null,
            loadedAt: WallTime(nanoseconds: 0),
            allowedPaths: [.exact("/ready")]
        )
        #expect(ask(state, "/ready").status == 200)
        #expect(ask(state, "/stats").status == 403)
    }

    @Test func `ready follows the server's state`() {
        var state = state()
        #expect(ask(state, "/ready") == (200, "LIVE\n"))
        state.serverState = { .draining }
        #expect(ask(state, "/ready") == (503, "DRAINING\n"))
    }

    @Test func `commands reach the control thread`() {
        var state = state()
        var heard: [String] = []
        state.failHealthChecks = { heard.append("fail") }
        state.passHealthChecks = { heard.append("ok") }
        state.quit = { heard.append("quit") }
        state.reopenLogs = { heard.append("reopen") }
        state.drainListeners = { heard.append("drain \($0.isGraceful) \($0.skipsExit)") }
        state.modifyRuntime = { changes in
            heard.append(changes.map { "\($0.key)=\($0.value)" }.joined(separator: " "))
            return nil
        }
        for target in [
            "/healthcheck/fail", "/healthcheck/ok", "/reopen_logs", "/drain_listeners?graceful",
            "/runtime_modify?a.b=1&c=", "/quitquitquit",
        ] {
            #expect(ask(state, target, method: "POST") == (200, "OK\n"))
        }
        #expect(heard == ["fail", "ok", "reopen", "drain true false", "a.b=1 c=", "quit"])
    }

    @Test func `counters are reset on demand`() {
        let state = state()
        let counter = WorkerStats(state.stats, index: 0).counter("c")
        counter.add(5)
        _ = ask(state, "/reset_counters", method: "POST")
        #expect(ask(state, "/stats").body == "c: 0\n")
    }

    @Test func `log levels are set for all, for some, or not at all`() {
        let state = state()
        #expect(ask(state, "/logging?level=error", method: "POST").body.contains("  main: error\n"))
        _ = ask(state, "/logging?paths=main:trace,http:debug,lua:info", method: "POST")
        #expect(state.log.level(of: .main) == .trace)
        #expect(state.log.level(of: .http) == .debug)
        #expect(state.log.level(of: .router) == .error)
        for target in ["?level=loud", "?paths=main", "?nope=info", "?level=info&paths=main:info"] {
            #expect(ask(state, "/logging" + target, method: "POST").status == 400)
        }
        _ = ask(state, "/logging?paths=http:info,nope:info", method: "POST")
        #expect(state.log.level(of: .http) == .debug)
    }

    @Test func `listeners are listed as Envoy lists them`() {
        var state = state()
        state.listeners = { [("l1", .ip(IPAddress(ipv4: 0x7F00_0001), port: 80))] }
        #expect(ask(state, "/listeners").body == "l1::127.0.0.1:80\n")
        #expect(
            ask(state, "/listeners?format=json").body == """
                {
                 "listener_statuses": [
                  {
                   "name": "l1",
                   "local_address": {
                    "socket_address": {
                     "address": "127.0.0.1",
                     "port_value": 80
                    }
                   }
                  }
                 ]
                }

                """
        )
    }

    @Test func `certificates are listed with their days`() {
        var state = state()
        let info = CertificateInfo(
            uriSANs: ["spiffe://a"],
            dnsSANs: ["d"],
            serial: "4d",
            notBefore: WallTime(nanoseconds: 0),
            notAfter: WallTime(nanoseconds: 86_400_000_000_000 * 20)
        )
        state.certificates = {
            [.init(authorities: [], chain: [.init(path: "/c.pem", info: info)])]
        }
        state.wallClock = { WallTime(nanoseconds: 1) }
        let body = ask(state, "/certs").body
        #expect(body.contains(#""path": "/c.pem""#))
        #expect(body.contains(#""uri": "spiffe://a""#))
        #expect(body.contains(#""days_until_expiration": "20""#))
        #expect(body.contains(#""expiration_time": "1970-01-21T00:00:00Z""#))
    }

    @Test func `the runtime shows layers and what wins`() {
        var state = state()
        let diagnostics = ConfigDiagnostics()
        guard
            let object = ConfigDocument.parse(
                json: """
                    {"layers": [{"name": "static", "static_layer": {"a.b": "1"}},
                                {"name": "admin", "admin_layer": {}}]}
                    """,
                diagnostics: diagnostics
            )
        else { return }
        let config = RuntimeConfig(object)
        state.runtime = { .init(config: config, overrides: [("x", "2")]) }
        #expect(
            ask(state, "/runtime").body == """
                {
                 "entries": {
                  "a.b": {
                   "layer_values": [
                    "1",
                    ""
                   ],
                   "final_value": "1"
                  },
                  "x": {
                   "layer_values": [
                    "",
                    "2"
                   ],
                   "final_value": "2"
                  }
                 },
                 "layers": [
                  "static",
                  "admin"
                 ]
                }

                """
        )
    }

    // MARK: /config_dump

    private let file = #"""
        {"node": {"id": "n"}, "static_resources": {
          "clusters": [{"name": "up", "type": "STATIC", "transport_socket": {"typed_config": {
            "@type": "t", "common_tls_context": {"tls_certificates": [{
              "certificate_chain": {"inline_string": "CERT"},
              "private_key": {"inline_string": "KEY"}, "password": {"filename": "/pw"}}]}}}},
            {"name": "down"}],
          "listeners": [{"name": "l", "filter_chains": [{"filters": [{"typed_config": {
            "@type": "hcm", "route_config": {"name": "r"}}}]}]}],
          "secrets": [{"name": "s", "tls_certificate": {"privateKey": {"inlineBytes": "S0VZ"}}},
                      {"name": "g", "generic_secret": {"secret": {"inline_string": "KEY"}}}]}}
        """#

    @Test func `no key or password leaves the process`() {
        let body = ask(state(file), "/config_dump").body
        #expect(!body.contains("KEY") && !body.contains("/pw") && !body.contains("S0VZ"))
        #expect(body.contains("[redacted]") && body.contains("CERT"))
        let types = [
            "Bootstrap", "Clusters", "Listeners", "ScopedRoutes", "Routes", "Secrets",
        ]
        for type in types {
            #expect(
                body.contains(#""@type": "type.googleapis.com/envoy.admin.v3.\#(type)ConfigDump""#)
            )
        }
        #expect(body.contains(#""last_updated": "2026-11-21T00:56:46.661Z""#))
    }

    @Test func `one resource, a mask and names narrow the dump`() {
        let state = state(file)
        #expect(
            ask(state, "/config_dump?resource=static_clusters&mask=cluster.name&name_regex=u.*")
                .body
                    == """
                    {
                     "configs": [
                      {
                       "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump.StaticCluster",
                       "cluster": {
                        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
                        "name": "up"
                       }
                      }
                     ]
                    }

                    """
        )
        #expect(
            ask(state, "/config_dump?resource=static_route_configs").body.contains(#""name": "r""#)
        )
        #expect(ask(state, "/config_dump?resource=dynamic_listeners").body == "{}\n")
        #expect(ask(state, "/config_dump?resource=nope") == (404, "nope not found in config dump"))
    }

    @Test func `server_info names version, state and node`() {
        var state = state(file)
        state.uptime = { .seconds(61) }
        let body = ask(state, "/server_info").body
        for line in [
            #""version": "1/2/OpenSSL""#, #""state": "LIVE""#, #""uptime_current_epoch": "61s""#,
            #""id": "n""#,
        ] { #expect(body.contains(line), "\(line)") }
    }
}
