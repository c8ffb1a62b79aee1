"""The list itself. Keep it short: a difference costs every user a surprise."""

from harness.known import Difference

STRICT = "Two parsers that read one message differently are how requests are smuggled; RFC 9112 calls it malformed."
EVERYTHING = ("*",)

DIFFERENCES = [
    Difference(
        "Malformed requests that Envoy repairs",
        STRICT + " Refused with 400 and a closed connection; none reaches an upstream.",
        [
            f"http1_bad_requests/{name}"
            for name in (
                "folded header", "bare LF line ends", "bare LF ends one header", "bare CR in a value", "two hosts",
                "two spaces in the request line", "a tab in the request line", "chunk size ends with a bare LF",
                "chunk longer than its size",
            )
        ] + ["old_clients/trailing white space in the version"],
        EVERYTHING,
        envoy="Folded lines, bare LF and CR, several blanks in the request line are repaired; two `Host` lines are joined",
        ours="400 `http1.codec_error`",
    ),
    Difference(
        "Malformed responses that Envoy passes on",
        STRICT + " Answered with 502, flag `UPE`.",
        [
            f"http1_bad_responses/{name}"
            for name in (
                "status of four digits", "status of two digits", "status zero", "status 600", "an unrequested 101",
                "bare LF line ends",
            )
        ] + [
            f"response_edges/{name}"
            for name in (
                "HTTP/1.0 with chunks", "two spaces in the status line", "HTTP/2.0 in text", "HTTP/1.2", "space behind a chunk size",
                "a chunk longer than its size", "a folded header", "a 101 to a body",
            )
        ] + ["upgrades/a 101 without its headers"],
        EVERYTHING,
        envoy="Any number is a status, an unrequested 101 is passed on, bare LF ends lines",
        ours="502 `upstream_reset_before_response_started{protocol_error}`",
    ),
    Difference(
        "One path, one spelling",
        "What the proxy's policy and the upstream read differently is a way round authorization.",
        [
            f"paths_and_hosts/{name}"
            for name in ("a path of slashes only is merged", "path parameters do not hide encoded dots")
        ],
        EVERYTHING,
        envoy="`merge_slashes` keeps `//` as it is; `normalize_path` resolves `..;v=1` but leaves `%2e%2e;v=1` as `..;v=1`",
        ours="`/`; both are resolved",
    ),
    Difference(
        "A broken body is noticed before the upstream is asked",
        "What is parsed first cannot be half a request somewhere else.",
        [
            f"http1_bad_requests/{name}"
            for name in ("chunk size is not a number", "chunk size is too large", "negative chunk size", "chunk size with 0x", "bad trailer")
        ],
        ("log*", "upstream*"),
        envoy="The log shows an upstream connection attempt that depends on timing",
        ours="Logged as it happened",
        optional=True,
    ),
    Difference(
        "Counters of what the strictness refuses",
        "They follow from the rows above.",
        ["http1_bad_requests/stats", "http1_bad_responses/stats", "http1_requests/stats", "response_edges/stats", "upgrades/stats"],
        (
            "stats.cluster.up.upstream_cx_total", "stats.cluster.up.upstream_cx_protocol_error", "stats.cluster.up.upstream_rq_*",
            "stats.http.in.downstream_cx_protocol_error", "stats.http.in.downstream_rq_?xx", "stats.http.in.downstream_rq_completed", "stats.http.in.downstream_rq_rx_reset", "stats.http.in.downstream_rq_ws_on_non_ws_route",
        ),
        envoy="Counted as served", ours="Counted as refused",
    ),
    Difference(
        "An empty `Host`",
        "Nothing can be routed by it, and a later hop may take its host from elsewhere.",
        ["local_replies/empty host"],
        EVERYTHING,
        envoy="404 `route_not_found`", ours="400 `missing_host_header`",
    ),
    Difference(
        "A client that has sent FIN still gets its response",
        "TCP's half-close is legal (RFC 9112 §9.6), and `printf ... | nc` relies on it. A client that is gone"
        " is noticed when the response meets its RST.",
        ["http1_requests/half-close of the client after the request", "local_replies/client leaves*", "http1_requests/websocket"],
        EVERYTHING,
        envoy="The request is dropped, `DC`", ours="The request is served",
    ),
    Difference(
        "Interim responses pass",
        "RFC 9110 §15.2 wants a proxy to forward 1xx responses; 103 Early Hints are of no use otherwise.",
        ["http1_requests/early hints", "http1_requests/a 102 before the response", "response_edges/many interim responses", "response_edges/interim responses without end", "response_edges/an interim response, then the end"],
        EVERYTHING,
        envoy="Dropped", ours="Forwarded",
    ),
    Difference(
        "Header fields named by `Connection` in a response",
        "They are for one hop (RFC 9110 §7.6.1) and never leak to the next.",
        ["http1_requests/hop-by-hop headers do not pass"],
        ("responses*.headers.x-resp",),
        envoy="Passed on", ours="Removed",
    ),
    Difference(
        "`connection: upgrade` is written in lower case",
        "The token is case-insensitive.",
        ["http1_requests/websocket*", "ignored_upgrades/what is left of a list is asked for", "upgrades/*"],
        ("*headers.connection",),
        envoy="As the client wrote it", ours="`upgrade`", optional=True,
    ),
    Difference(
        "An upgrade that the upstream does not take",
        "A server may answer as if it had not been asked (RFC 9110 §7.8), and its answer is what the client wants to see. Fields of"
        " one hop stay there, in requests a length of zero among them.",
        ["upgrades/the upstream answers plainly*", "upgrades/the upstream refuses", "upgrades/a length of zero"],
        ("responses*", "connection", "upstream*.headers.content-length"),
        envoy="A 2xx loses its body, `websocket_handshake_unsuccessful`; a 426 keeps `Upgrade` and the connection",
        ours="The upstream's answer; the connection is closed after it",
    ),
    Difference(
        "HTTP/1.0 clients",
        "HTTP/1.0 knows neither upgrades (RFC 9110 §7.8) nor 100 (§15.2); who says `close` means it.",
        ["old_clients/keep-alive and close", "old_clients/an upgrade is not for HTTP/1.0", "old_clients/an expectation"],
        EVERYTHING,
        envoy="Upgrades are asked for, `100 Continue` is sent, `keep-alive, close` is kept alive",
        ours="Plain requests, no 100, closed",
    ),
    Difference(
        "Flags in the bodies of refused requests",
        "The record and the answer say the same.",
        ["mapped_replies/headers too large", "mapped_replies/HTTP/1.0", "mapped_replies/an unknown coding"],
        ("responses*.body", "responses*.headers.content-length", "log*.sent"),
        envoy="`%RESPONSE_FLAGS%` in `local_reply_config` is `-`", ours="`DPE`, as in the log",
    ),
    Difference(
        "Reason phrases of unassigned status codes",
        "Nothing may depend on them (RFC 9112 §4).",
        ["http1_requests/an unusual status"],
        ("responses*.line",),
        envoy="`599 Last Unassigned Server Error Code`", ours="`599 Unknown`",
    ),
    Difference(
        "The spelling of `Host` under `preserve_case`",
        "It travels as `:authority` inside and is written as `Host`.",
        ["http1_requests/preserved case", "http1_requests/trailers both ways"],
        ("upstream*.headers.H*", "upstream*.headers.host"),
        envoy="As the client spelled it", ours="`Host`", optional=True,
    ),
    Difference(
        "CONNECT without a route for it",
        "CONNECT is refused before routes are asked, as any upgrade that is not enabled.",
        ["http1_requests/CONNECT without a route for it", "h?.termination/no route for the host"],
        EVERYTHING,
        envoy="404 `route_not_found`", ours="403 `upgrade_failed`", optional=True,
    ),
    Difference(
        "The server name is known without `tls_inspector`",
        "The handshake tells it; logs and RBAC's `requested_server_name` need no listener filter.",
        ["downstream_tls/*", "tls_trust/*", "policies/*"],
        ("log*.sni",),
        envoy="`%REQUESTED_SERVER_NAME%` is empty without the filter", ours="Filled on every TLS connection", optional=True,
    ),
    Difference(
        "Network RBAC decides before the upstream is connected",
        "A refused client costs no upstream connection and cannot probe one.",
        ["network_rbac/not allowed", "network_rbac/denied", "network_rbac/stats"] + [
            f"network_policies/{name}" for name in (
                "somebody else", "denied by name", "the wrong server name", "no server name", "continuous, denied",
                "the second filter denies", "a denied connection is held for a while", "in plaintext nobody has a name",
                "a path never matches, and neither does its contrary",
            )
        ],
        ("log*.attempts", "log*.cluster", "log*.received", "log*.upstream", "stats.tcp.*"),
        envoy="Judged at the first byte, when `tcp_proxy` has connected already", ours="Judged when the connection is established",
    ),
    Difference(
        "`*` inside a literal segment of a `uri_template`",
        "`/a*` would match `/aa` and not `/abc`: nobody who writes it means that.",
        [],
        envoy="Repeats the letter before it", ours="Refused when the file is read", optional=True,
    ),
    Difference(
        "A secret that is missing at start",
        "It is seen when it is made.",
        [],
        envoy="The listener closes every connection", ours="An error: nothing starts", optional=True,
    ),
    Difference(
        "`enforcement_type: CONTINUOUS` of the network filter",
        "All that its rules can see is known when the connection is established.",
        ["network_policies/stats"],
        ("stats.tcp.rbac.allowed",),
        envoy="Decides, and counts, at every read", ours="Decides once",
    ),
    Difference(
        "Repeated fields stay apart",
        "Lines of one list field mean the same as one line (RFC 9110 §5.3); policy sees them joined.",
        ["policies/remote address of a sidecar, two fields"],
        ("upstream*.headers.x-forwarded-for",),
        envoy="Joined by a comma for the upstream", ours="Passed on as they came",
    ),
    Difference(
        "`require_client_certificate` without a validation context",
        "Who asks for a certificate is not to be served without one; that nobody vouches for it is warned of.",
        ["tls_trust/stats", "tls_trust/required without authority, *"],
        ("stats.listener.*_{noca}.ssl.*", "upstream", "log*.peer_*"),
        envoy="No certificate is asked for", ours="A certificate is required, any will do",
    ),
    Difference(
        "Filter chains that match on TLS, without `tls_inspector`",
        "A TLS client would be handed to a plaintext chain; the file is warned of.",
        ["filter_chains/a match for TLS without inspector*", "filter_chains/stats"],
        ("log*", "responses*", "stats.tls_inspector.*"),
        envoy="Nothing looks for TLS: the chain for plaintext is chosen", ours="The inspector is added",
        optional=True,
    ),
    Difference(
        "TLS is closed one direction at a time",
        "RFC 8446 §6.1: close_notify says that its sender has no more to say, not that it no longer listens.",
        ["tcp_tls/stats"],
        ("stats.cluster.*destroy_*",),
        envoy="`tcp_proxy` closes both sides at the client's close_notify", ours="The other direction may finish, as without TLS",
    ),
    Difference(
        "`tcp_proxy` meets a cluster's `max_pending_requests`",
        "The limit is named where it was met.",
        ["tcp_tls/no pending connection is allowed", "tcp_tls/stats", "h?.tunneling/no * is allowed", "h?.tunneling/stats"],
        ("log*.flags*", "log*.attempts", "stats.cluster.pending.upstream_cx_connect_attempts_exceeded", "stats.cluster.full.upstream_cx_connect_attempts_exceeded"),
        envoy="`URX` after one attempt that was none", ours="`UO`",
    ),
    Difference(
        "A connection whose handshake fails costs no upstream connection",
        "A client that nobody knows cannot make us connect anywhere.",
        ["tcp_tls/stats"],
        ("stats.tcp.in.downstream_cx_total", "stats.cluster.up.*"),
        envoy="`tcp_proxy` connects while the handshake goes on, and logs the connection",
        ours="`tcp_proxy` begins once the handshake is done",
    ),
    Difference(
        "The order of response flags",
        "Flags are a set, written in the order of Envoy's list.",
        ["retries/*", "overrides/*", "local_replies/per-try timeout with retries used up", "virtual_clusters/per-try timeouts", "tcp_proxy/nobody listens", "tcp_tls/*",
         "h?.termination/nobody listens, with retries"],
        ("log*.flags", "log*.flags_long"),
        envoy="In the order they were raised: `URX,UC`", ours="In the list's order: `UC,URX`", optional=True,
    ),
    Difference(
        "`%LOCAL_REPLY_BODY%` in access logs",
        "It is what the client read, which is what the reader of a log wants to know.",
        ["access_logs/*"],
        ("log*.local_reply_body",),
        envoy="Empty outside of `local_reply_config`", ours="The body", optional=True,
    ),
    Difference(
        "Byte counts of refused requests",
        "We count what was read until the fault.",
        ["access_logs/all operators on a bad request"],
        ("log*.wire_received",),
        envoy="All bytes of the segment", ours="Bytes up to the fault", optional=True,
    ),
    Difference(
        "The log shows the path as the client sent it",
        "A refused request is easiest to find by what was sent.",
        [
            "paths_and_hosts/escaped slash is rejected", "paths_and_hosts/underscores are rejected",
            "after_bad_requests/an escaped slash*", "after_bad_requests/an underscore*",
        ],
        ("log*",),
        envoy="The path after normalization, or nothing", ours="The path and host of the request", optional=True,
    ),
    Difference(
        "One log record per request with internal redirects",
        "One request of a client is one line; its attempts are those of the last hop.",
        ["route_actions/internal redirect*", "virtual_clusters/an internal redirect"],
        ("log*",),
        envoy="One record per hop", ours="One record", optional=True,
    ),
    Difference(
        "Requests are not hedged",
        "`hedge_policy` is refused when the file is read, so that nobody counts on it.",
        ["overrides/hedge on per-try timeout"],
        ("upstream*.x-envoy-expected-rq-timeout-ms",),
        envoy="`x-envoy-hedge-on-per-try-timeout` leaves an attempt running beside the next, which may take the whole timeout",
        ours="The header does nothing and goes no further; an attempt ends at its timeout",
    ),
    Difference(
        "The log of an internal redirect that is not followed",
        "The route and cluster that answered are what the reader of a log looks for.",
        [
            f"internal_redirects/{name}" for name in (
                "two slashes before a host", "an IPv6 host", "to TLS is safe", "an unlisted route", "back and forth",
            )
        ],
        ("log*.cluster", "log*.route"),
        envoy="Names the route that was refused, or none", ours="Names the route that answered",
    ),
    Difference(
        "Bytes of a body that is repeated for an internal redirect",
        "The client has sent them once.",
        ["internal_redirects/*"],
        ("log*.received",),
        envoy="Counted again with every redirect", ours="Counted once", optional=True,
    ),
    Difference(
        "Internal redirects to relative references",
        "RFC 9110 §10.2.2 lets a location be relative, and §4.2.3 makes an empty path `/`.",
        [
            f"redirect_references/{name}" for name in (
                "to a path", "a fragment of a path is left behind", "a query without a path", "a fragment right after the host",
            )
        ],
        EVERYTHING,
        envoy="Handed to the client", ours="Absolute paths, and hosts without a path, are followed",
    ),
    Difference(
        "Internal redirects to schemes that are not HTTP's",
        "Nothing is fetched over FTP here; the client may know how.",
        ["redirect_references/ftp where any scheme may follow"],
        EVERYTHING,
        envoy="Followed over HTTP, where `allow_cross_scheme_redirect` is set", ours="Handed to the client",
    ),
    Difference(
        "Counters of half-closed clients, of an empty `Host` and of cut-off bodies",
        "They follow from the rows above.",
        ["local_replies/stats"],
        (
            "stats.cluster.up.*upstream_rq_503", "stats.cluster.up.*upstream_rq_5xx", "stats.cluster.up.*upstream_rq_completed",
            "stats.cluster.up.upstream_cx_protocol_error", "stats.cluster.up.upstream_rq_tx_reset", "stats.http.in.downstream_rq_5xx",
            "stats.http.in.downstream_rq_completed", "stats.http.in.downstream_rq_rx_reset", "stats.http.in.no_route", "stats.http.in.rq_total",
        ),
        envoy="Counted as dropped or as 404", ours="Counted as served or as 400", optional=True,
    ),
    Difference(
        "Circuit-breaker gauges of limits that are zero or absent",
        "A breaker whose limit is zero is open; gauges here are signed.",
        ["circuit_breakers/stats"],
        ("stats.*rq_open", "stats.*rq_pending_open", "stats.*remaining_cx_pools"),
        envoy="Closed until the first request; 2^64-1", ours="Open from the start; 2^63-1", optional=True,
    ),
    Difference(
        "Who ended the connection after a local reply that closes it",
        "We close first, after saying `connection: close`; Envoy lets the client do it for a while.",
        ["stat_names/stats"],
        ("stats.http.in.downstream_cx_destroy_*",),
        envoy="`downstream_cx_destroy_remote`", ours="`downstream_cx_destroy_local`", optional=True,
    ),
    Difference(
        "`lb_subsets_single_host_per_subset_duplicate`",
        "Subsets of one host that share it are found when the file is read.",
        ["load_balancing/stats"],
        ("stats.*lb_subsets_single_host_per_subset_duplicate",),
        envoy="A gauge", ours="Absent", optional=True,
    ),
    Difference(
        "`null` in a list of a JSON log under `omit_empty_values`",
        "A list keeps its length, so that its places keep their meaning.",
        ["access_logs/empty values omitted"],
        ("log*.nested.list*",),
        envoy="Dropped from the list", ours="Kept", optional=True,
    ),
    Difference(
        "A connection's own record in the listener's access log",
        "The record is about the connection, not about what it carried: bytes on the wire, TLS included, no protocol.",
        ["downstream_tls/chain by *"],
        ("log*.protocol", "log*.received", "log*.sent"),
        envoy="Bytes and protocol of the HTTP inside", ours="Bytes of the socket", optional=True,
    ),
    Difference(
        "Connection managers of connections whose handshake fails",
        "A refused peer costs no connection manager, and is counted by `listener.*.ssl` alone.",
        ["downstream_tls/stats"],
        ("stats.http.*.downstream_cx_total", "stats.http.*.downstream_cx_ssl_total"),
        envoy="Counted before the handshake", ours="Counted once the handshake is done", optional=True,
    ),
    Difference(
        "`%UPSTREAM_TRANSPORT_FAILURE_REASON%` of a handshake that takes too long",
        "That TCP stood and TLS did not is half of the diagnosis.",
        ["upstream_tls/the upstream speaks plaintext"],
        ("log*.upstream_failure",),
        envoy="Empty", ours="`TLS_handshake_timed_out`", optional=True,
    ),
    Difference(
        "`/server_info`, `server.version` and usage texts name us",
        "They are about the program that runs.",
        ["stat_names/GET /stats?format=nonsense", "stat_names/stats"],
        ("lines", "stats.server.version", "stats.server.days_until_first_cert_expiring"),
        envoy="Envoy's build", ours="Ours", optional=True,
    ),
    Difference(
        "`max_connections` is exact over all workers",
        "A limit that may be passed protects nobody (docs/decisions/0006-exact-connection-limits.md).",
        ["circuit_breakers/exact connections"],
        ("stats.*",),
        envoy="Every worker may have one connection to every endpoint beyond it", ours="Never passed; requests wait their turn",
        optional=True,
    ),
    Difference(
        "`RANDOM` follows `load_balancing_weight`",
        "A weight that is given and ignored surprises.",
        ["load_balancing/weighted random"],
        ("upstream*", "log*"),
        envoy="Weights are ignored", ours="Endpoints are chosen by weight", optional=True,
    ),
    Difference(
        "Logs know the status of a gRPC-Web call",
        "A log that calls every call UNKNOWN hides the failing ones.",
        [
            f"grpc_web/{name}"
            for name in (
                "binary", "binary with its message format", "text", "text with its message format", "text in, binary out",
                "binary in, text out", "several messages in text", "text in pieces", "a response message in pieces",
                "an accept-encoding of its own",
            )
        ],
        ("log[0].status",),
        envoy="`%GRPC_STATUS%` is Unknown, for the filter has taken the trailers away",
        ours="The status that the client got",
    ),
    Difference(
        "RST_STREAM to a server whose answer is no longer wanted",
        "CANCEL is what RFC 9113 has for it; INTERNAL_ERROR looks like a fault of the proxy in the server's logs.",
        ["h?_h2.*", "h2.tunneling/*"],
        ("upstream*connection", "upstream*ended"),
        envoy="`INTERNAL_ERROR`",
        ours="`CANCEL`",
        optional=True,
    ),
    Difference(
        "A malformed HTTP/2 message ends its connection",
        "The client learns that it was at fault, and whether its other requests were served.",
        ["h2_h?.*"],
        ("goaway",),
        envoy="The connection is closed without a word",
        ours="GOAWAY with the error code first",
        optional=True,
    ),
    Difference(
        "The last request of an HTTP/2 connection",
        "After a round trip the client has heard; nothing is gained by waiting for `drain_timeout`.",
        ["h2_h?.timeouts/the last request of a connection says so"],
        ("connection",),
        envoy="The connection is closed after `drain_timeout`",
        ours="Closed as soon as the client has heard and the last stream has ended",
        optional=True,
    ),
    Difference(
        "HPACK",
        "libnghttp2 packs the same fields into a few bytes more or less.",
        ["h?_h?.*"],
        ("log*wire*",),
        envoy="Counts of bytes on the wire",
        ours="May differ by a few bytes",
        optional=True,
    ),
    Difference(
        "The log tells what became of a tunnel",
        "An attempt that was made good is no failure, and a stream that the upstream has reset is one.",
        ["h?.tunneling/refused, then granted", "h?.tunneling/the upstream resets"],
        ("log*.flags", "log*.flags_long"),
        envoy="`UF` for a tunnel that worked at the second attempt; no flag for one that was reset",
        ours="No flag; `UR`",
        optional=True,
    ),
    Difference(
        "A tunnel that is given up ends with RST",
        "Its upstream is to know that something is missing; FIN says that nothing is.",
        ["h?.termination/the stream idles", "h?.termination/the stream takes too long", "h1.tunneling/the client resets", "h1.tunneling/idle timeout"],
        ("upstream*connection",),
        envoy="The upstream gets FIN", ours="RST",
    ),
    Difference(
        "Network RBAC denies a tunnel's connection before the tunnel is granted",
        "The client hears that it is not let in, instead of a tunnel that closes; the server is not connected to.",
        ["waypoint_otherwise/TCP inside: denied by the network filter"],
        EVERYTHING,
        envoy="200, an upstream connection, then the end", ours="503, `UF`; why is in the internal listener's log",
    ),
    Difference(
        "The last bytes of a connection inside the process are delivered",
        "What was sent before FIN is not lost.",
        ["waypoint_otherwise/TCP inside: a megabyte arrives whole"],
        ("responses*", "tunnel"),
        envoy="A tunnel whose server sends much and closes is reset in the middle", ours="All of it, then END_STREAM",
    ),
    Difference(
        "Streams with different shared filter state do not share a connection",
        "A request over a connection that was made for another sender would be judged, and logged, as that sender's.",
        ["waypoint_otherwise/requests of two tenants to an internal listener"],
        ("log*",),
        envoy="`envoy.string` objects, such as principals, are not looked at when a kept connection is chosen",
        ours="Every shared object keeps connections apart",
    ),
    Difference(
        "`read_only` filter state",
        "Its documentation says that no filter may replace such a value, this one included.",
        ["waypoint_otherwise/a value that is not to be replaced"],
        ("log*.fixed",),
        envoy="Replaced all the same", ours="The first value stays",
    ),
    Difference(
        "Tunnels end one direction at a time",
        "A client that has no more to say still hears the rest; an orderly end is neither `DC` nor `UC`, and no error to the client.",
        ["h?_h?.tunnels/CONNECT is passed on and tunnels", "h?_h?.tunnels/a websocket", "h?_h1.tunnels/a websocket is refused by the upstream",
         "waypoint/a bad request inside", "waypoint/the app closes within its response",
         "h?.termination/*", "h1.tunneling/POST", "h?.tunneling/stats", "ignored_upgrades/what is left of a list is asked for", "upgrades/*"],
        ("log*flags*", "log*details", "log*sent", "tunnel", "connection", "responses[1]*", "*headers.connection", "stats.http.in.downstream_rq_*",
         "stats.cluster.up.upstream_cx_?x_bytes_total", "upstream.up*connection", "stats.tcp.post.*", "stats.cluster.up.upstream_rq_tx_reset"),
        envoy="A client's FIN drops a CONNECT or websocket, `DC`; an upstream's FIN resets an HTTP/2 client's stream",
        ours="FIN and END_STREAM are passed on as each other",
        optional=True,
    ),
]
