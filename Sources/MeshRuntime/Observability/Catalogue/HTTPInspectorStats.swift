/// Stats of the HTTP inspector listener filter (envoy: `http_inspector.`).
package struct HTTPInspectorStats {
    package let http10Found: Counter
    package let http11Found: Counter
    package let http2Found: Counter
    package let httpNotFound: Counter
    package let readError: Counter

    package init(_ stats: WorkerStats) {
        let scope = StatsScope(stats, "http_inspector.")
        http10Found = scope.counter("http10_found")
        http11Found = scope.counter("http11_found")
        http2Found = scope.counter("http2_found")
        httpNotFound = scope.counter("http_not_found")
        readError = scope.counter("read_error")
    }
}
