/// The way out: one flush per loop iteration, except for pieces so large that a copy would cost more
/// than the system call it saves.
extension Connection {
    /// Plaintext encrypted ahead of the kernel: enough to fill a socket buffer's worth per call.
    private static let encryptAheadBytes = 262_144
    /// From this size on a piece goes to the kernel at once, where nothing is queued before it.
    private static let directBytesMin = 16_384

    /// What remains to be queued of a piece; nil where the connection broke.
    func writtenAtOnce(_ bytes: Bytes) -> Bytes? {
        guard bytes.count >= Self.directBytesMin, !hasUnsent, isWritable, state == .open,
            !isSendingShut, !isClosingAfterFlush, brokenBy == nil
        else { return bytes }
        return secure == nil ? writeDirectly(bytes) : encryptDirectly(bytes)
    }

    /// What the kernel did not take; nil where the connection broke.
    private func writeDirectly(_ bytes: Bytes) -> Bytes? {
        let sent = send(bytes) ?? 0
        guard brokenBy == nil else { return nil }
        bytesSent &+= UInt64(sent)
        return Bytes(rebasing: bytes[sent...])
    }

    /// What was not encrypted, which is all or nothing; nil where the connection broke.
    private func encryptDirectly(_ bytes: Bytes) -> Bytes? {
        // A failure shows again in the flush, where it may end the connection.
        guard let secure, sendEncrypted(bytes, secure) else { return bytes }
        return brokenBy == nil ? Bytes(rebasing: bytes[bytes.count...]) : nil
    }

    /// Encrypts into the loop's scratch, and keeps only what the kernel does not take. False: TLS has
    /// failed, and nothing was sent.
    private func sendEncrypted(_ bytes: Bytes, _ secure: any SecureTransport) -> Bool {
        loop.ciphertextScratch.clear()
        guard secure.send(bytes, output: &loop.ciphertextScratch) else { return false }
        bytesSent &+= UInt64(bytes.count)
        let records = loop.ciphertextScratch.bytes
        let sent = send(records) ?? 0
        if sent < records.count, brokenBy == nil {
            ciphertext.append(Bytes(rebasing: records[sent...]))
        }
        return true
    }

    /// Writes what it can. Called by the loop, once per iteration, where there is something to write.
    func flush() {
        isDirty = false
        guard state != .closed, state != .connecting, brokenBy == nil else { return }
        let sentBefore = socketBytesSent
        if secure == nil {
            if state == .open { writePlain() }
        } else {
            writeSecure()
        }
        guard state != .closed, brokenBy == nil else { return }
        if tellsFlushes { delegate?.connectionFlushed(self) }
        if isBlocked, bufferedBytes <= outputHighWatermark / 2 {
            isBlocked = false
            delegate?.connectionOutputUnblocked(self)
        }
        if !hasUnsent, state == .open { outputFlushed() }
        if isClosingAfterFlush, state == .open, timer.isNone || socketBytesSent != sentBefore {
            loop.cancel(&timer)
            timer = loop.arm(self, Timer.linger, after: closingStallMax)
        }
    }

    /// What ``bytesSent`` will be when all that was written so far is with the kernel.
    package var bytesWritten: UInt64 { bytesSent &+ UInt64(output.count) }

    /// Whether the kernel has all bytes up to this count of ``bytesSent``.
    package func hasFlushed(_ position: UInt64) -> Bool {
        ciphertext.isEmpty && bytesSent >= position
    }

    private func writePlain() {
        while !output.isEmpty {
            guard let sent = send(output.bytes) else { return }
            output.consume(sent)
            bytesSent &+= UInt64(sent)
        }
        output.release(to: &loop.spareBlocks)
    }

    private func writeSecure() {
        guard let secure else { return }
        while state != .closed, brokenBy == nil {
            if ciphertext.isEmpty, !output.isEmpty, state == .open {
                let slice = Bytes(rebasing: output.bytes.prefix(Self.encryptAheadBytes))
                guard sendEncrypted(slice, secure) else {
                    transportFailureReason = secure.failureReason
                    return finish(.tlsFailed)
                }
                if brokenBy == nil { output.consume(slice.count) }
            } else if !ciphertext.isEmpty {
                if !writeCiphertext() { return }
            } else {
                break
            }
        }
        if output.isEmpty { output.release(to: &loop.spareBlocks) }
    }

    /// Writes pending ciphertext; false where some is left.
    @discardableResult
    func writeCiphertext() -> Bool {
        while !ciphertext.isEmpty {
            guard let sent = send(ciphertext.bytes) else { return false }
            ciphertext.consume(sent)
        }
        ciphertext.release()
        return true
    }

    private func send(_ bytes: Bytes) -> Int? {
        switch sockets.send(bytes, to: socket) {
        case .bytes(let count):
            if count < bytes.count { isWritable = false }
            socketBytesSent &+= UInt64(count)
            return count
        case .wouldBlock, .endOfStream:
            isWritable = false
            return nil
        case .failed(let error):
            // The peer hung up. It may have said why before: an early response is still to be read.
            brokenBy = error
            transportFailureReason = error.reason
            output.clear()
            ciphertext.clear()
            isReadable = true
            isEndQueued = true
            deferTurn()
            return nil
        }
    }

    private func outputFlushed() {
        if isAbortingAfterFlush { return finish(.local, byReset: true) }
        if isClosingAfterFlush || isSendingShut, !isFinSent {
            if let secure, !isCloseNotifySent {
                isCloseNotifySent = true
                secure.shutdown(output: &ciphertext)
            }
            guard writeCiphertext() else { return }
            isFinSent = true
            sockets.shutdownSending(socket)
        }
        guard isClosingAfterFlush else { return }
        if peerEnded { return finish(.local) }
        state = .lingering
        input.release()
        loop.cancel(&timer)
        timer = loop.arm(self, Timer.linger, after: lingerTimeout)
        if isReadable { discardInput() }
    }
}
