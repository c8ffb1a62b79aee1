import MeshNet

/// When an identity's certificate is to be looked at next, in wall time, since certificates have dates of
/// that kind. A value; the store performs what it says.
struct RenewalSchedule {
    /// When to make or read the certificate again; the end of time where only a change of files matters.
    private(set) var due = WallTime(nanoseconds: .min)
    /// What the last attempt failed for; nil after success.
    private(set) var problem: String?
    private var lastNews: String?
    private var failures = 0
    private var notBefore = WallTime(nanoseconds: .min)

    /// The first retry; each further one waits twice as long.
    static let retryMin = Nanoseconds.seconds(1)
    static let retryMax = Nanoseconds.seconds(150)

    /// Also where the clock was set back to before the certificate.
    func isDue(at now: WallTime) -> Bool { due <= now || now < notBefore }

    /// Issued certificates are due at half of their life, others when they expire, so that somebody says so.
    mutating func succeeded(_ certificate: CertificateInfo, renews: Bool, at now: WallTime) {
        problem = nil
        lastNews = nil
        failures = 0
        let end = certificate.notAfter.nanoseconds
        if renews {
            notBefore = certificate.notBefore
            due = WallTime(nanoseconds: now.nanoseconds + max(1, (end - now.nanoseconds) / 2))
        } else {
            due = certificate.notAfter
        }
    }

    /// True where this is news: not what was so the last time.
    mutating func failed(_ reason: String, news: String, at now: WallTime) -> Bool {
        let wait = min(Self.retryMax.count, Self.retryMin.count << min(failures, 20))
        failures += 1
        due = WallTime(nanoseconds: now.nanoseconds + wait)
        defer { lastNews = news }
        problem = reason
        return lastNews != news
    }

    /// A new certificate must be good now, or it replaces nothing.
    static func check(
        _ credentials: Credentials,
        _ path: String,
        at now: WallTime
    ) throws(IdentityError) {
        let leaf = credentials.certificate
        if leaf.chainNotAfter <= now {
            throw IdentityError(
                subject: path,
                reason: "expired at \(leaf.chainNotAfter.dateText)",
                check: "who renews it, and this machine's clock (\(now.dateText))"
            )
        }
        if now < leaf.notBefore {
            throw IdentityError(
                subject: path,
                reason: "is valid only from \(leaf.notBefore.dateText)",
                check: "this machine's clock (\(now.dateText))"
            )
        }
    }
}
