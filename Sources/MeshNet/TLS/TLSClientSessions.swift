import COpenSSL
import Synchronization

/// For whom a client session may be offered again.
struct TLSSessionKey: Hashable, Sendable {
    var serverName: String
    var peerName: String
}

/// A client context's sessions for resumption. They belong to the context: with new certificates or
/// new trust comes a new context, and nothing is resumed across.
final class TLSClientSessions: Sendable {
    private struct Stored: @unchecked Sendable {
        // One counted reference of OpenSSL's; handed over, never shared by us.
        let session: OpaquePointer
    }

    /// Server names with sessions: a bound for contexts whose name follows the request's host.
    private static let namesMax = 256

    private let perName: Int
    private let sessions = Mutex<[TLSSessionKey: [Stored]]>([:])

    init(perName: Int) { self.perName = perName }

    deinit { sessions.withLock { $0.values.joined().forEach { SSL_SESSION_free($0.session) } } }

    var isOn: Bool { perName > 0 }

    /// Takes over one reference.
    func store(_ session: OpaquePointer, for key: TLSSessionKey) {
        let stored = Stored(session: session)
        sessions.withLock {
            if $0[key] == nil, $0.count >= Self.namesMax, let victim = $0.keys.first {
                $0.removeValue(forKey: victim)?.forEach { SSL_SESSION_free($0.session) }
            }
            var list = $0[key] ?? []
            if list.count >= perName { SSL_SESSION_free(list.removeFirst().session) }
            list.append(stored)
            $0[key] = list
        }
    }

    /// The newest session, with a reference for the caller; nil when there is none.
    ///
    /// TLS 1.3 sessions are used once (RFC 8446 §C.4), older ones stay.
    func take(_ key: TLSSessionKey) -> OpaquePointer? {
        guard isOn else { return nil }
        return sessions.withLock { all -> Stored? in
            while let stored = all[key]?.last {
                let expired =
                    SSL_SESSION_get0_peer(stored.session).map {
                        X509_cmp_current_time(X509_get0_notAfter($0)) <= 0
                    } ?? false
                if expired || SSL_SESSION_is_resumable(stored.session) == 0 {
                    all[key]?.removeLast()
                    SSL_SESSION_free(stored.session)
                    continue
                }
                if SSL_SESSION_get_protocol_version(stored.session) >= TLS1_3_VERSION {
                    all[key]?.removeLast()
                    if all[key]?.isEmpty == true { all[key] = nil }
                } else {
                    SSL_SESSION_up_ref(stored.session)
                }
                return stored
            }
            return nil
        }?.session
    }
}

extension TLSSession {
    /// The library offers a new session; true takes it over.
    func store(_ session: OpaquePointer) -> Bool {
        guard failure == nil else { return false }
        peerContext.clientSessions.store(session, for: sessionKey)
        return true
    }
}
