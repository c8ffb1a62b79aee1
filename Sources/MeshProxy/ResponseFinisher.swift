import MeshConfig
import MeshHTTP
import MeshNet

/// The last changes to a response head before the codec gets it, whether it came from an upstream or
/// from here (envoy: ConnectionManagerUtility::mutateResponseHeaders).
///
/// Connection-specific fields and `date` are the codec's and the worker's. Immutable.
package final class ResponseFinisher {
    private let serverName: String
    private let serverTransformation: HTTPConnectionManagerConfig.ServerHeaderTransformation
    private let alwaysSetsRequestID: Bool
    private let via: String

    package init(_ config: HTTPConnectionManagerConfig) {
        serverName = config.serverName
        serverTransformation = config.serverHeaderTransformation
        alwaysSetsRequestID = config.alwaysSetsRequestIDInResponse
        via = config.via
    }

    /// - Parameter request: the request's head; nil where none was read completely.
    package func finish(_ head: HeaderMap, request: HeaderMap?) {
        switch serverTransformation {
        case .overwrite: head.set(.server, serverName)
        case .appendIfAbsent: if !head.contains(.server) { head.set(.server, serverName) }
        case .passThrough: break
        }
        if let request, let id = request[.requestID],
            alwaysSetsRequestID || request.contains(.envoyForceTrace)
        {
            head.set(.requestID, id)
        }
        if !via.isEmpty {
            RequestSanitizer.appendListItem(via, to: .via, of: head, separator: ", ")
        }
    }
}
