/// The whole of a configuration file (envoy: bootstrap.v3.Bootstrap).
package struct Bootstrap: Sendable {
    package let node: NodeConfig
    package private(set) var listeners: [ListenerConfig]
    package let clusters: [ClusterConfig]
    package let secrets: [SecretConfig]
    /// Nil: no administration server.
    package let admin: AdminConfig?
    package let runtime: RuntimeConfig
    package let explain: ExplainConfig
    package let stats: StatsConfig
    /// Nil: listeners inside the process are not allowed.
    package let internalListeners: InternalListenersConfig?
    /// How often gauges and histograms are settled.
    package let statsFlushInterval: Duration

    package init(_ object: ConfigObject) {
        node = NodeConfig(object.object("node"))
        let resources = object.object("static_resources")
        let resolver = DNSResolverConfig(bootstrap: object)
        clusters =
            resources?.objects("clusters").map { ClusterConfig($0, defaultResolver: resolver) }
            ?? []
        listeners = resources?.objects("listeners").map { ListenerConfig($0) } ?? []
        secrets = resources?.objects("secrets").map { SecretConfig($0) } ?? []
        admin = object.object("admin").map { AdminConfig($0) }
        runtime = object.object("layered_runtime").map { RuntimeConfig($0) } ?? RuntimeConfig()
        object.object("layered_runtime").map { RuntimeKeys.check($0) }
        explain = ExplainConfig(runtime) { object.error($0, at: "layered_runtime") }
        stats = object.object("stats_config").map { StatsConfig($0) } ?? StatsConfig()
        statsFlushInterval =
            object.duration("stats_flush_interval", atLeast: .milliseconds(1)) ?? .seconds(5)
        if statsFlushInterval > .seconds(300) {
            object.error("must be at most five minutes", at: "stats_flush_interval")
        }
        if let flushes = object.bool("stats_flush_on_admin") {
            if !flushes {
                object.error("must be true, or not be given", at: "stats_flush_on_admin")
            }
            if object.isPresent("stats_flush_interval") {
                object.error(
                    "only one of stats_flush_interval, stats_flush_on_admin may be given",
                    at: "stats_flush_on_admin"
                )
            }
        }
        // Statistics are always as fresh as they are asked for.
        object.inert("stats_flush_on_admin")
        Self.refuse(object)
        object.object("cluster_manager").map(Self.refuseManager)
        object.object("overload_manager").map(Self.refuseOverload)
        internalListeners =
            object.objects("bootstrap_extensions").compactMap(
                InternalListenersConfig.decode
            ).last
        if resources == nil { object.warning("static_resources is absent: there is nothing to do") }
    }

    /// Reads the files that routes and local replies name. Control thread only.
    mutating func loadFiles(_ files: any ConfigFiles, problems: inout [String]) {
        for index in listeners.indices { listeners[index].loadFiles(files, problems: &problems) }
    }

    private static func refuse(_ object: ConfigObject) {
        object.unsupported(
            "dynamic_resources",
            "listeners and clusters are read from this file only; use static_resources"
        ) {
            $0 == .object(.init([]))
        }
        object.unsupported("stats_sinks", "statistics are read from the administration server")
        object.unsupported("hds_config", "health is reported to nobody")
        object.unsupported(
            "tracing",
            "spans are not produced; trace headers pass through without it"
        )
        object.unsupported("header_prefix", "the proxy's headers begin with x-envoy") {
            $0 == .string("x-envoy")
        }
        object.unsupported("fatal_actions", "a crash ends the process at once")
        object.unsupported("config_sources", "configuration is read from this file only")
        object.unsupported("default_config_source", "configuration is read from this file only")
        object.unsupported("default_socket_interface", "there is one kind of socket")
        object.unsupported(
            "certificate_provider_instances",
            "certificates come from this file, files or SDS files"
        )
        object.unsupported("xds_delegate_extension", "configuration is read from this file only")
        object.unsupported(
            "xds_config_tracker_extension",
            "configuration is read from this file only"
        )
        object.unsupported("listener_manager", "there is one kind of listener manager")
        if let engine = object.object("default_regex_engine") {
            _ = engine.requiredString("name")
            let known = "envoy.extensions.regex_engines.v3.GoogleRE2"
            if let (type, options) = engine.typedConfig(), type != known {
                engine.error("\(ConfigNode.quoted(type)) is not supported; the engine is \(known)")
                options.skip()
            }
        }
        // Management servers, the process's own log, memory and threads, and more or fewer
        // statistics: none of these reaches traffic.
        object.inert(
            "node_context_params",
            "flags_path",
            "deferred_stat_options",
            "stats_eviction_interval",
            "watchdog",
            "watchdogs",
            "enable_dispatcher_stats",
            "stats_server_version_override",
            "inline_headers",
            "perf_tracing_file_path",
            "application_log_config",
            "grpc_async_client_manager_config",
            "memory_allocator_manager",
            "enable_worker_cpu_affinity"
        )
    }

    private static func refuseManager(_ object: ConfigObject) {
        object.unsupported("local_cluster_name", "routing by zone is not implemented")
        object.unsupported("upstream_bind_config", "the kernel chooses the local address") {
            $0 == .object(.init([]))
        }
        object.unsupported("load_stats_config", "load is reported to nobody")
        // Clusters refuse the outlier detection whose events it would log.
        object.inert("outlier_detection", "enable_deferred_cluster_creation")
    }

    private static func refuseOverload(_ object: ConfigObject) {
        let reason = "overload is not measured"
        object.unsupported("resource_monitors", reason)
        object.unsupported("actions", reason)
        object.unsupported("loadshed_points", reason)
        object.inert("refresh_interval", "buffer_factory_config")
    }
}
