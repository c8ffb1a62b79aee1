/// One worker's spare header maps: an idle connection holds none.
///
/// A map taken is owned by the taker until it is given back, without reference counting in between.
package final class HeaderMapPool {
    private let spare: UnsafeMutablePointer<Unmanaged<HeaderMap>>
    private var count = 0
    /// For sessions of the same worker.
    let http2Memory = HTTP2Memory()

    /// Enough for some hundred streams at once; beyond it maps are freed.
    private static var spareMax: Int { 256 }

    package init() { spare = .allocate(capacity: Self.spareMax) }

    deinit {
        for at in 0..<count { spare[at].release() }
        spare.deallocate()
    }

    /// An empty map, to be given back or released.
    package func take() -> Unmanaged<HeaderMap> {
        guard count > 0 else { return .passRetained(HeaderMap()) }
        count &-= 1
        return spare[count]
    }

    package func give(_ map: Unmanaged<HeaderMap>) {
        guard count < Self.spareMax else { return map.release() }
        map._withUnsafeGuaranteedRef { $0.removeAll() }
        spare[count] = map
        count &+= 1
    }
}
