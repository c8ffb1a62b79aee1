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
    /// The certificate that was told of to be near its end.
    private var lateOf = ""

    /// A tenth of a certificate's life: nobody renews that late on purpose.
    private static let lateShare: Int64 = 10

    /// The first retry; each further one waits twice as long.
    static let retryMin = Nanoseconds.seconds(1)
    static let retryMax = Nanoseconds.seconds(150)

    /// However short certificates are, nobody makes them more often: their dates are whole seconds.
    private static let renewalMin = Nanoseconds.seconds(1)

    /// Also where the clock was set back to before the certificate.
    func isDue(at now: WallTime) -> Bool { due <= now || now < notBefore }

    /// We renew what we issue, at half of its life.
    mutating func issued(_ certificate: CertificateInfo, at now: WallTime) {
        succeeded()
        notBefore = certificate.notBefore
        let left = certificate.chainNotAfter.nanoseconds - now.nanoseconds
        due = WallTime(nanoseconds: now.nanoseconds + max(Self.renewalMin.count, left / 2))
    }

    /// What others renew is looked at when little is left of it, and when it expires, to say so. True where
    /// little is left, once for each certificate.
    mutating func read(_ certificate: CertificateInfo, at now: WallTime) -> Bool {
        succeeded()
        let end = certificate.chainNotAfter
        let life = end.nanoseconds - certificate.notBefore.nanoseconds
        let late = WallTime(nanoseconds: end.nanoseconds - life / Self.lateShare)
        due = now < late ? late : end
        let isNews = now >= late && lateOf != certificate.sha256
        if isNews { lateOf = certificate.sha256 }
        return isNews
    }

    private mutating func succeeded() {
        problem = nil
        lastNews = nil
        failures = 0
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
}
