import CLinux

/// The C heap of this process, on which Swift's objects are.
package enum HeapMemory {
    /// Gives pages without anything in use back to the kernel: after much was allocated once, for a short
    /// time. Takes milliseconds, and looks at the heaps of all threads. Control thread.
    package static func giveBackUnused() { clinux_heap_trim() }
}
