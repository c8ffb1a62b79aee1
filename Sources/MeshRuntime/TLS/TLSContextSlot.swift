import MeshConfig
import MeshNet
import Synchronization

/// Where the workers find the current TLS context of one transport socket.
///
/// The control thread puts a new context in when a secret changes; a worker takes the current one
/// for each new connection. Live connections keep the one they began with.
package final class TLSContextSlot: Sendable {
    /// The transport socket in the configuration.
    package let place: ConfigPlace
    private let current: Mutex<TLSContext>

    init(_ place: ConfigPlace, _ context: TLSContext) {
        self.place = place
        current = Mutex(context)
    }

    /// One lock per connection: measured at tens of nanoseconds, beside a handshake's hundreds of
    /// microseconds.
    package func load() -> TLSContext { current.withLock { $0 } }

    func store(_ context: TLSContext) { current.withLock { $0 = context } }
}
