import MeshConfig
import MeshHTTP
import MeshNet
import MeshRuntime

extension HTTPStream {
    /// Whether the request asks to be explained and may. The header goes no further, whoever sent it: a
    /// proxy behind this one may trust this one's address (docs/decisions/0003-explain.md).
    func takesExplainHeader(_ head: HeaderMap) -> Bool {
        guard head.remove(.meshExplain) else { return false }
        return worker.plan.bootstrap.explain.trusts(info.connection.directRemoteAddress)
    }

    /// Answers with the explanation instead of serving the request; nothing is sent upstream.
    ///
    /// - Parameter refusal: the request was refused before any filter.
    func sendExplanation(_ refusal: LocalReply?) {
        let plan = worker.plan
        var explanation: Explanation
        if let refusal {
            explanation = Explanation(
                outcome: Explanation.Outcome(
                    action: "reply",
                    status: refusal.status,
                    details: refusal.detailsText,
                    summary: "\(refusal.status) before any filter"
                )
            )
            explanation.request = Explanation.Request(request, info)
            explanation.chain.listener = info.connection.listenerName
        } else {
            let explainer = RequestExplainer(
                routes: settings.routes,
                filters: settings.filters,
                clusters: plan.cluster
            )
            explanation = explainer.explain(request, info, random: worker.random.next())
        }
        explanation.chain.name = settings.chainName
        explanation.networkFilters = settings.gates.map { $0.explain(info) }
        var json = JSONWriter(indentation: 1)
        explanation.write(to: &json)
        var body = json.finish()
        body.append(byte: UInt8(ascii: "\n"))
        sendReply(contentType: "application/json", body.bytes, details: "explained")
    }

    /// Answers 200 with a body of the proxy's own, which nothing rewrites.
    private func sendReply(contentType: StaticString, _ body: Bytes, details: String) {
        info.responseCodeDetails = details
        let taken = worker.headers.take()
        let head = taken.takeUnretainedValue()
        head.append(.status, "200")
        head.append(.contentType, contentType)
        head.set(.contentLength, decimal: body.count)
        let isHead = request[.method]?.equals("HEAD") ?? false
        sendResponseHead(head, endStream: isHead)
        if !isHead { sendResponseData(body, endStream: true) }
        worker.headers.give(taken)
    }
}
