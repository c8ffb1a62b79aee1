import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

extension RouterFilter {
    /// How much of a body is kept for another attempt (envoy: per_request_buffer_limit_bytes).
    var bufferBytesMax: Int {
        selection?.route.requestBufferLimit.map { Int(clamping: $0) } ?? stream.settings.bufferLimit
    }

    /// For the admin's `/clusters`.
    func count(_ counter: EndpointCounter?, _ attempt: UpstreamRequest?) {
        guard let counter, let endpoint = attempt?.endpoint else { return }
        endpoint.vitals.add(1, to: counter, worker: stream.worker.index)
    }
}
