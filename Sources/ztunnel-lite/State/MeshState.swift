import MeshConfig
import MeshNet

/// What the agent knows of the mesh, ready to be asked. Immutable: workers share it, the control thread
/// replaces it as a whole. Lookups do not depend on the size of the mesh.
package final class MeshState: Sendable {
    /// In file order.
    package let workloads: [Workload]
    /// In file order.
    package let services: [Service]
    /// Our own: addresses mean something in it alone.
    package let network: String

    let workloadsByAddress: [IPAddress: Int32]
    let workloadsByName: [WorkloadName: Int32]
    let workloadsByUID: [String: Int32]
    let servicesByAddress: IndexByKey<IPAddress>
    let servicesByHostname: IndexByKey<String>
    let servicesByRange: IndexByRange
    /// By a workload's place in ``workloads``.
    let policySets: [PolicySet]
    let policyIndex: PolicySetBuilder

    /// Of those who run as `serviceAccount`, the one named `name`.
    struct WorkloadName: Hashable {
        let name: String
        let namespace: String
        let serviceAccount: String
    }

    package static let empty = MeshState(ZtunnelConfig(), network: "")

    /// Control thread; proportional to the size of the mesh.
    package init(_ config: ZtunnelConfig, network: String) {
        let builder = MeshStateBuilder(config, network: network)
        self.network = network
        workloads = builder.workloads
        services = builder.services
        workloadsByAddress = builder.workloadsByAddress
        workloadsByName = builder.workloadsByName
        workloadsByUID = builder.workloadsByUID
        servicesByAddress = builder.servicesByAddress
        servicesByHostname = builder.servicesByHostname
        servicesByRange = builder.servicesByRange
        policySets = builder.policySets
        policyIndex = builder.policyIndex
    }

    // MARK: Lookups

    /// In our own network.
    package func workload(at address: IPAddress) -> Workload? {
        workloadsByAddress[address].map { workloads[Int($0)] }
    }

    /// As `PROXY_WORKLOAD_INFO` names it.
    package func workload(
        named name: String,
        namespace: String,
        serviceAccount: String
    ) -> Workload? {
        workloadsByName[
            WorkloadName(name: name, namespace: namespace, serviceAccount: serviceAccount)
        ].map { workloads[Int($0)] }
    }

    /// What has become of `workload`, which may be of an earlier state; nil if it is gone.
    package func current(_ workload: Workload) -> Workload? {
        if workloads.indices.contains(workload.index), workloads[workload.index] === workload {
            return workload
        }
        if !workload.uid.isEmpty {
            return workloadsByUID[workload.uid].map { workloads[Int($0)] }
        }
        return self.workload(
            named: workload.name,
            namespace: workload.namespace,
            serviceAccount: workload.serviceAccount
        )
    }

    /// By VIP in our network, a single one before a range.
    package func service(at address: IPAddress) -> Service? {
        best(servicesByAddress[address], for: "") ?? best(covering(address), for: "")
    }

    /// Where several services have this hostname, the canonical one, else the first.
    package func service(hostname: String) -> Service? { service(hostname: hostname, for: "") }

    /// As clients in `namespace` see it: of services with one VIP theirs comes first, and private ones of
    /// others are not there.
    func service(at address: IPAddress, seenFrom namespace: String) -> Service? {
        best(visible(servicesByAddress[address], from: namespace), for: namespace)
    }

    /// By the longest prefix, as clients in `namespace` see it.
    func service(covering address: IPAddress, seenFrom namespace: String) -> Service? {
        best(covering(address, seenFrom: namespace), for: namespace)
    }

    func service(hostname: String, for namespace: String) -> Service? {
        best(servicesByHostname[hostname], for: namespace)
    }

    private func covering(
        _ address: IPAddress,
        seenFrom namespace: String? = nil
    ) -> [Int32] {
        servicesByRange.first(covering: address) { found in
            guard let namespace else { return found }
            return visible(found, from: namespace)
        }
    }

    private func visible(_ candidates: [Int32], from namespace: String) -> [Int32] {
        if candidates.allSatisfy({ services[Int($0)].isVisible(from: namespace) }) {
            return candidates
        }
        return candidates.filter { services[Int($0)].isVisible(from: namespace) }
    }

    private func best(_ candidates: [Int32], for namespace: String) -> Service? {
        guard let first = candidates.first else { return nil }
        if candidates.count == 1 { return services[Int(first)] }
        let place =
            candidates.first { services[Int($0)].namespace == namespace }
            ?? candidates.first { services[Int($0)].isCanonical } ?? first
        return services[Int(place)]
    }

    /// The same object for the same workload; that of its successor for one of an earlier state. One
    /// that is gone while connections to it live on keeps its namespace and the policies it named: their
    /// set is made anew each time.
    package func policies(for workload: Workload) -> PolicySet {
        if let current = current(workload) { return policySets[current.index] }
        return policyIndex.make(namespace: workload.namespace, named: workload.policyKeys)
    }
}

extension Service {
    fileprivate func isVisible(from namespace: String) -> Bool {
        !isPrivate || namespace == self.namespace
    }
}
