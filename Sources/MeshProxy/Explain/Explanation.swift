import MeshConfig
import MeshNet
import MeshRuntime

/// Everything that was decided about one request, or would be, and why: the answer to the debug header
/// and to `POST /explain`. A value; ``write(to:)`` makes it JSON (docs/explain.md).
package struct Explanation {
    /// The request as it was decided upon: after normalization of its path and host.
    package struct Request {
        package var method = ""
        package var path = ""
        package var authority = ""
        /// The connection's peer, and the client as far as a trusted `x-forwarded-for` knows better.
        package var peer = ""
        package var client = ""
        package var localAddress = ""
        package var serverName = ""
        /// Names in the peer's certificate; nil without TLS, empty without certificate.
        package var principals: [String]?
    }

    /// How the connection's filter chain was found.
    package struct Chain {
        package var listener = ""
        /// Nil where none matches.
        package var name: String?
        package var passedOver: [(name: String, because: String)] = []
    }

    /// An RBAC filter, on connections or requests.
    package struct Filter {
        package enum Source: String {
            case chain = "filter chain"
            case route
            case disabled = "disabled on this route"
        }

        package let name: String
        /// Whose rules are in force.
        package let source: Source
        package let enforced: RBACExplanation?
        package let shadow: RBACExplanation?
        /// Response code details of a denial; nil where it lets the request pass.
        package let details: String?

        package init(
            name: String,
            source: Source,
            enforced: RBACExplanation?,
            shadow: RBACExplanation?,
            details: String?
        ) {
            self.name = name
            self.source = source
            self.enforced = enforced
            self.shadow = shadow
            self.details = details
        }
    }

    package struct Endpoint {
        package let address: String
        package let health: String
        package let weight: Int
        /// Nil for an endpoint that may be chosen.
        package let passedOverBecause: String?
    }

    package struct Upstream {
        package let cluster: String
        /// How one of several is chosen.
        package let policy: String
        package let endpoints: [Endpoint]
    }

    /// What becomes of the request.
    package struct Outcome {
        /// `forward`, `reply`, `close`.
        package var action: String
        /// Nil where upstream gives it.
        package var status: Int?
        package var details: String?
        /// One sentence.
        package var summary: String
    }

    package var request = Request()
    package var chain = Chain()
    package var networkFilters: [Filter] = []
    package var httpFilters: [Filter] = []
    package var route: RouteExplanation?
    package var upstream: Upstream?
    package var outcome: Outcome

    package init(outcome: Outcome) { self.outcome = outcome }
}

extension Explanation {
    /// Writes one object.
    package func write(to json: inout JSONWriter) {
        json.beginObject()
        json.key("outcome")
        json.beginObject()
        json.member("action", outcome.action)
        if let status = outcome.status { json.member("status", status) }
        if let details = outcome.details { json.member("details", details) }
        json.member("summary", outcome.summary)
        json.endObject()
        json.key("request")
        request.write(to: &json)
        json.key("filter_chain")
        chain.write(to: &json)
        json.key("network_filters")
        json.beginArray()
        for filter in networkFilters { filter.write(to: &json) }
        json.endArray()
        if let route {
            json.key("route")
            route.write(to: &json)
        }
        json.key("http_filters")
        json.beginArray()
        for filter in httpFilters { filter.write(to: &json) }
        json.endArray()
        if let upstream {
            json.key("upstream")
            upstream.write(to: &json)
        }
        json.endObject()
    }
}

extension Explanation.Request {
    fileprivate func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("method", method)
        json.member("path", path)
        json.member("authority", authority)
        json.member("peer", peer)
        json.member("client", client)
        json.member("local_address", localAddress)
        json.member("tls", principals != nil)
        if !serverName.isEmpty { json.member("server_name", serverName) }
        if let principals {
            json.key("principals")
            json.beginArray()
            for name in principals { json.string(name) }
            json.endArray()
        }
        json.endObject()
    }
}

extension Explanation.Chain {
    fileprivate func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("listener", listener)
        json.key("name")
        if let name { json.string(name) } else { json.null() }
        if !passedOver.isEmpty {
            json.key("passed_over")
            json.beginArray()
            for (name, reason) in passedOver {
                json.beginObject()
                json.member("name", name)
                json.member("because", reason)
                json.endObject()
            }
            json.endArray()
        }
        json.endObject()
    }
}

extension Explanation.Filter {
    fileprivate func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("name", name)
        json.member("rules_of", source.rawValue)
        json.member("passes", details == nil)
        if let details { json.member("details", details) }
        if let enforced {
            json.key("rules")
            enforced.write(to: &json)
        }
        if let shadow {
            json.key("shadow_rules")
            shadow.write(to: &json)
        }
        json.endObject()
    }
}

extension RouteExplanation {
    fileprivate func write(to json: inout JSONWriter) {
        json.beginObject()
        json.key("virtual_host")
        if let virtualHost { json.string(virtualHost) } else { json.null() }
        if let domain { json.member("domain", domain) }
        json.key("candidates")
        json.beginArray()
        for candidate in candidates {
            json.beginObject()
            json.member("route", candidate.route)
            json.member("line", candidate.line)
            json.member("taken", candidate.passedOverBecause == nil)
            if let reason = candidate.passedOverBecause {
                json.member("passed_over_because", reason)
            }
            json.endObject()
        }
        json.endArray()
        if !outcome.isEmpty { json.member("outcome", outcome) }
        json.endObject()
    }
}

extension Explanation.Upstream {
    fileprivate func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("cluster", cluster)
        json.member("policy", policy)
        json.key("endpoints")
        json.beginArray()
        for endpoint in endpoints {
            json.beginObject()
            json.member("address", endpoint.address)
            json.member("health", endpoint.health)
            json.member("weight", endpoint.weight)
            json.member("eligible", endpoint.passedOverBecause == nil)
            if let reason = endpoint.passedOverBecause {
                json.member("passed_over_because", reason)
            }
            json.endObject()
        }
        json.endArray()
        json.endObject()
    }
}
