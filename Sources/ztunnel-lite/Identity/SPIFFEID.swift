/// Who a workload is: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`, Istio's form of a
/// SPIFFE ID, which is the only one that ztunnel takes.
package struct SPIFFEID: Hashable, Sendable {
    package let trustDomain: String
    package let namespace: String
    package let serviceAccount: String

    package init(trustDomain: String, namespace: String, serviceAccount: String) {
        self.trustDomain = trustDomain
        self.namespace = namespace
        self.serviceAccount = serviceAccount
    }

    /// Nil for any other form: five parts behind the scheme, `ns` and `sa` among them, none empty.
    package init?(_ uri: String) {
        guard uri.hasPrefix(Self.scheme) else { return nil }
        let parts = uri.dropFirst(Self.scheme.count).split(
            separator: "/",
            omittingEmptySubsequences: false
        )
        guard parts.count == 5, parts[1] == "ns", parts[3] == "sa",
            !parts[0].isEmpty, !parts[2].isEmpty, !parts[4].isEmpty
        else { return nil }
        self.init(
            trustDomain: String(parts[0]),
            namespace: String(parts[2]),
            serviceAccount: String(parts[4])
        )
    }

    private static let scheme = "spiffe://"

    /// Without the scheme, as policies write principals: `cluster.local/ns/default/sa/sleep`.
    package var principal: String { "\(trustDomain)/ns/\(namespace)/sa/\(serviceAccount)" }
}

extension SPIFFEID: CustomStringConvertible {
    package var description: String { Self.scheme + principal }
}
