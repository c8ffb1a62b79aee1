/// Reads the statistics of admin interfaces once a second.
struct Scraper {
    let addresses: [String]
    private var next = 0.0

    init(addresses: [String]) {
        self.addresses = addresses
    }

    /// Does so when a second has passed since the last time.
    mutating func scrape() {
        guard !addresses.isEmpty, Clock.seconds() >= next else { return }
        next = Clock.seconds() + 1
        for address in addresses {
            _ = Sockets.get("/stats/prometheus", at: address)
        }
    }
}
