/// Who works at a sink by itself, besides answering what is received: a codec with clockwork of its own.
package protocol SinkClient: AnyObject {
    /// The turn that was asked for, by ``ByteSink/wantTurn()`` or for a time that has come.
    func takeTurn()
}

/// Where a codec writes and whose reading it governs: a ``Connection``, or a test's stand-in.
///
/// A codec appends to ``output`` and then says so once with ``outputGrew()``. The owner writes it to
/// the wire at the end of the loop's iteration, in one system call.
package class ByteSink {
    /// Plaintext on its way to the peer.
    package final var output = ByteBuffer()

    package init() {}

    /// A message is about to be appended to ``output``: the owner may have storage for it at hand.
    package func willWrite() {}

    /// ``output`` has new bytes. Cheap to repeat.
    package func outputGrew() {}

    /// Appends to ``output``, and says so. A large piece may skip it on its way to the wire.
    package func write(_ bytes: Bytes) {
        output.append(bytes)
        outputGrew()
    }

    /// Nothing more will be written: say FIN after ``output``, and go on reading.
    package func shutdownSending() {}

    /// Bytes handed over but not yet taken by the kernel, ``output`` included.
    package var bufferedBytes: Int { output.count }

    /// Stop delivering received bytes. Calls are counted; each needs its ``resumeReading()``.
    package func pauseReading() { readPauses += 1 }

    /// Undo one ``pauseReading()``. Bytes that were left unconsumed are delivered again later in the
    /// same iteration, never from inside this call.
    package func resumeReading() { readPauses -= 1 }

    /// How many pauses are in force.
    package var readPauses = 0

    // MARK: Turns

    /// Unchecked: it outlives the sink's use of it, and takes itself off when it ends.
    package final unowned(unsafe) var client: (any SinkClient)?

    /// The time of this iteration.
    package var now: Instant { Instant(nanoseconds: 0) }

    /// Gives the client a turn later in the same iteration, never from inside this call. Cheap to repeat.
    package func wantTurn() {}

    /// Gives the client a turn at this time; the last call counts.
    package func wantTurn(at time: Instant) {}
}
