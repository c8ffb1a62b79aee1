/// One worker's spare header maps: an idle connection holds none.
package final class HeaderMapPool {
    private var spare: [HeaderMap] = []

    /// Enough for a burst; beyond it maps are freed.
    private static let spareMax = 64

    package init() { spare.reserveCapacity(Self.spareMax) }

    /// An empty map.
    package func take() -> HeaderMap { spare.popLast() ?? HeaderMap() }

    package func give(_ map: HeaderMap) {
        guard spare.count < Self.spareMax else { return }
        map.removeAll()
        spare.append(map)
    }
}
