/// A reference that counts nothing: a call through it costs no retain and release, which are atomic.
///
/// Whoever holds one says at its declaration who keeps the object alive. Everything else stays with
/// plain references; a `let` is as cheap (docs/decisions/0007-references-on-the-data-path.md).
package struct Uncounted<Object: AnyObject> {
    private let reference: Unmanaged<Object>

    @inline(__always)
    package init(_ object: Object) { reference = .passUnretained(object) }

    /// What ``opaque`` gave.
    @inline(__always)
    package init(opaque: UnsafeRawPointer) { reference = .fromOpaque(opaque) }

    /// For C libraries to carry around.
    @inline(__always)
    package var opaque: UnsafeMutableRawPointer { reference.toOpaque() }

    /// The object must live until `body` returns.
    @inline(__always)
    package func use<Result>(_ body: (Object) -> Result) -> Result {
        reference._withUnsafeGuaranteedRef(body)
    }

    /// A counted reference, for calls that may drop the last one.
    @inline(__always)
    package var counted: Object { reference.takeUnretainedValue() }

    @inline(__always)
    package func isSame(as object: Object) -> Bool {
        reference.toOpaque() == Unmanaged.passUnretained(object).toOpaque()
    }
}
