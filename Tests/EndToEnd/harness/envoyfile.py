"""Builds Envoy files out of small parts, so that a case shows only what matters to it."""

TYPES = {
    "hcm": "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    "router": "envoy.extensions.filters.http.router.v3.Router",
    "rbac": "envoy.extensions.filters.http.rbac.v3.RBAC",
    "grpc_stats": "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
    "grpc_web": "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb",
    "rbac_per_route": "envoy.extensions.filters.http.rbac.v3.RBACPerRoute",
    "network_rbac": "envoy.extensions.filters.network.rbac.v3.RBAC",
    "tcp_proxy": "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
    "file_log": "envoy.extensions.access_loggers.file.v3.FileAccessLog",
    "downstream_tls": "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
    "upstream_tls": "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
    "tls_inspector": "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
    "http_inspector": "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
    "http_options": "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    "previous_hosts": "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
    "secret": "envoy.extensions.transport_sockets.tls.v3.Secret",
    "original_dst": "envoy.extensions.filters.listener.original_dst.v3.OriginalDst",
    "set_filter_state": "envoy.extensions.filters.http.set_filter_state.v3.Config",
    "network_set_filter_state": "envoy.extensions.filters.network.set_filter_state.v3.Config",
    "ip_matcher": "xds.type.matcher.v3.IPMatcher",
    "chain": "google.protobuf.StringValue",
    "internal_upstream": "envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport",
    "raw_buffer": "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
    "internal_listeners": "envoy.extensions.bootstrap.internal_listener.v3.InternalListener",
    "preserve_case": "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig",
}


def typed(kind, **fields):
    """A google.protobuf.Any in JSON."""
    return {"@type": "type.googleapis.com/" + TYPES[kind], **fields}


def extension(name, kind, **fields):
    return {"name": name, "typed_config": typed(kind, **fields)}


# What every group logs: one JSON object per request or connection.
LOG_FIELDS = {
    "protocol": "%PROTOCOL%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "authority": "%REQ(:AUTHORITY)%",
    "code": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "flags_long": "%RESPONSE_FLAGS_LONG%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "termination": "%CONNECTION_TERMINATION_DETAILS%",
    "received": "%BYTES_RECEIVED%",
    "sent": "%BYTES_SENT%",
    "upstream": "%UPSTREAM_HOST%",
    "cluster": "%UPSTREAM_CLUSTER%",
    "route": "%ROUTE_NAME%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "upstream_failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
}


def access_log(path, fields=None, **rest):
    log = extension(
        "envoy.access_loggers.file", "file_log", path=path,
        log_format={"json_format": fields or LOG_FIELDS},
    )
    return {**log, **rest}


def router(**fields):
    return extension("envoy.filters.http.router", "router", **fields)


def virtual_host(routes, name="all", domains=("*",), **fields):
    return {"name": name, "domains": list(domains), "routes": routes, **fields}


def route(match=None, cluster="up", name=None, **fields):
    """A route to a cluster. `action` fields go into `route`, the others beside it."""
    entry = {"match": match or {"prefix": "/"}}
    if name:
        entry["name"] = name
    beside = (
        "request_headers_to_add", "request_headers_to_remove", "response_headers_to_add",
        "response_headers_to_remove", "typed_per_filter_config", "metadata",
    )
    for key in beside:
        if key in fields:
            entry[key] = fields.pop(key)
    if "redirect" in fields:
        entry["redirect"] = fields.pop("redirect")
    elif "direct_response" in fields:
        entry["direct_response"] = fields.pop("direct_response")
    else:
        action = dict(fields)
        if cluster and not {"weighted_clusters", "cluster_header"} & set(action):
            action["cluster"] = cluster
        entry["route"] = action
    return entry


def hcm(log, virtual_hosts=None, routes=None, filters=(), stat_prefix="in", route_config=None, **fields):
    """An HTTP connection manager; delayed close is short so that closes are seen soon."""
    config = {
        "stat_prefix": stat_prefix,
        "codec_type": "HTTP1",
        "delayed_close_timeout": "0.1s",
        "route_config": {
            "name": "routes",
            "virtual_hosts": virtual_hosts or [virtual_host(routes or [route()])],
            **(route_config or {}),
        },
        "http_filters": [*filters, router(**fields.pop("router_fields", {}))],
        "access_log": [access_log(log)] if isinstance(log, str) else log,
        **fields,
    }
    config = {key: value for key, value in config.items() if value is not None}
    return extension("envoy.filters.network.http_connection_manager", "hcm", **config)


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def listener(port, *chains, name="in", **fields):
    """A listener; a chain is a list of filters, or a complete filter chain."""
    complete = [chain if isinstance(chain, dict) else {"filters": chain} for chain in chains]
    return {"name": name, "address": address(port), "filter_chains": complete, **fields}


def internal_listener(name, *chains, **fields):
    """A listener inside the process; chains as of `listener`."""
    made = listener(0, *chains, name=name, **fields)
    del made["address"]
    return {**made, "internal_listener": {}}


def internal_cluster(name, to, endpoint_id=None, metadata=None, passes=True, passthrough=(), **fields):
    """A cluster whose one endpoint is a listener inside the process; `passes` filter state, or only bytes."""
    where = {"server_listener_name": to, **({"endpoint_id": endpoint_id} if endpoint_id else {})}
    made = cluster(name, **fields)
    endpoint = {"endpoint": {"address": {"envoy_internal_address": where}}}
    if metadata:
        endpoint["metadata"] = {"filter_metadata": metadata}
    made["load_assignment"]["endpoints"][0]["lb_endpoints"] = [endpoint]
    if passes:
        made["transport_socket"] = extension(
            "internal_upstream", "internal_upstream", transport_socket=extension("raw_buffer", "raw_buffer"),
            passthrough_metadata=[{"kind": {kind: {}}, "name": key} for kind, key in passthrough])
    return made


def state(key, text, factory=None, shared="ONCE", **fields):
    """A value of the filter state."""
    return {"object_key": key, **({"factory_key": factory} if factory else {}), "shared_with_upstream": shared,
            "format_string": {"text_format_source": {"inline_string": text}}, **fields}


def to_chain(name):
    """What a filter_chain_matcher does: names a chain."""
    return {"action": {"name": name, "typed_config": typed("chain", value=name)}}


def matcher(input, key=None, **tree):
    """A matcher_tree on one of the network inputs."""
    config = {"@type": f"type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.{input}", **({"key": key} if key else {})}
    return {"matcher_tree": {"input": {"name": input, "typed_config": config}, **tree}}


def by_value(input, key=None, **map):
    return matcher(input, key, exact_match_map={"map": map})


def by_network(input, *entries):
    ranges = [{"ranges": [{"address_prefix": prefix, "prefix_len": length}], "on_match": then, **rest} for prefix, length, then, *more in entries for rest in [more[0] if more else {}]]
    return matcher(input, custom_match=extension("ip", "ip_matcher", range_matchers=ranges))


INTERNAL_LISTENERS = {"bootstrap_extensions": [extension("envoy.bootstrap.internal_listener", "internal_listeners")]}


def cluster(name, *ports, **fields):
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(p)}} for p in ports]}],
        },
        **fields,
    }


def http2_upstream(**options):
    """`typed_extension_protocol_options` of a cluster that speaks HTTP/2 only."""
    explicit = {"http2_protocol_options": options}
    return {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed("http_options", explicit_http_config=explicit)}


def common_tls(certificates, name=None, trusted=None, names=None, **fields):
    """A CommonTlsContext. `names` are exact SPIFFE URIs, or complete matchers."""
    context = dict(fields)
    if name:
        context["tls_certificates"] = [certificates.pair(name)]
    if trusted:
        validation = {"trusted_ca": {"filename": certificates.path(f"{trusted}.pem")}}
        if names:
            validation["match_typed_subject_alt_names"] = [
                n if isinstance(n, dict) else {"san_type": "URI", "matcher": {"exact": n}} for n in names
            ]
        context["validation_context"] = validation
    return context


def downstream_tls(common, **fields):
    return extension(
        "envoy.transport_sockets.tls", "downstream_tls", common_tls_context=common, **fields
    )


def upstream_tls(common, **fields):
    return extension(
        "envoy.transport_sockets.tls", "upstream_tls", common_tls_context=common, **fields
    )


def bootstrap(admin, listeners, clusters, **fields):
    file = {
        "node": {"id": "node-1", "cluster": "mesh"},
        "admin": {"address": address(admin)},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    }
    file.update(fields)
    return file
