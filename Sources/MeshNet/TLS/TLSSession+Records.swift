import COpenSSL

/// What records mean once ``TLSRecords`` protects them.
///
/// OpenSSL's connection lives on until the first application data. Until then whatever else the peer sends (a
/// server's tickets, an alert that refuses our certificate) is shown to OpenSSL as it came, which counts records as
/// we do and knows what to make of it. Later there are key updates and alerts only.
extension TLSSession {
    /// Records in a row that carry no data; more than a peer has reason to send.
    private static let idleRecordsMax = 32

    private enum Alert {
        static let closeNotify: UInt8 = 0, unexpectedMessage: UInt8 = 10, badRecordMAC: UInt8 = 20
        static let recordOverflow: UInt8 = 22, illegalParameter: UInt8 = 47
        static let decodeError: UInt8 = 50, userCanceled: UInt8 = 90
    }

    private enum Message {
        static let newSessionTicket: UInt8 = 4, keyUpdate: UInt8 = 24
    }

    func receive(
        _ ciphertext: Bytes,
        _ records: TLSRecords,
        plaintext: inout ByteBuffer,
        output: inout ByteBuffer
    ) {
        var input = ciphertext
        while status == .established {
            switch records.next(&input) {
            case .incomplete: return
            case .overlong:
                return refuse(
                    SSL_R_ENCRYPTED_LENGTH_TOO_LONG,
                    Alert.recordOverflow,
                    records,
                    &output
                )
            case .record(let record):
                take(record, records, plaintext: &plaintext, output: &output)
                records.consumed()
            }
        }
    }

    private func take(
        _ record: Bytes,
        _ records: TLSRecords,
        plaintext: inout ByteBuffer,
        output: inout ByteBuffer
    ) {
        // Everything is protected by now.
        guard record[0] == TLSRecords.Content.applicationData else {
            return refuse(SSL_R_UNEXPECTED_MESSAGE, Alert.unexpectedMessage, records, &output)
        }
        var fault = TLSRecords.Fault.notGenuine
        guard let (type, content) = records.open(record, behind: &plaintext, fault: &fault) else {
            return refuse(fault, records, &output)
        }
        if type == TLSRecords.Content.applicationData, !content.isEmpty {
            hasReceivedData = true
            idleRecords = 0
            return plaintext.commit(content.count)
        }
        idleRecords += 1
        guard idleRecords <= Self.idleRecordsMax else {
            return refuse(SSL_R_TOO_MANY_WARN_ALERTS, Alert.unexpectedMessage, records, &output)
        }
        switch type {
        case TLSRecords.Content.applicationData: hasReceivedData = true
        case TLSRecords.Content.handshake:
            takeHandshake(record, content, records, &output)
        case TLSRecords.Content.alert:
            takeAlert(record, content, records, &output)
        default:
            refuse(SSL_R_UNEXPECTED_MESSAGE, Alert.unexpectedMessage, records, &output)
        }
    }

    /// Messages behind the handshake (RFC 8446 §4.6): tickets and key updates.
    private func takeHandshake(
        _ record: Bytes,
        _ content: Bytes,
        _ records: TLSRecords,
        _ output: inout ByteBuffer
    ) {
        var rest = content
        while rest.count >= 4 {
            let length = Int(rest[1]) << 16 | Int(rest[2]) << 8 | Int(rest[3])
            guard rest.count >= 4 + length else { break }
            let message = Bytes(rebasing: rest[..<(4 + length)])
            rest = Bytes(rebasing: rest[(4 + length)...])
            guard message[0] == Message.keyUpdate else { continue }
            // The key changes with the next record: nothing else may follow.
            guard rest.isEmpty, length == 1, message[4] <= 1 else {
                return refuse(SSL_R_BAD_KEY_UPDATE, Alert.illegalParameter, records, &output)
            }
            records.reading.update()
            if message[4] == 1, !hasSentClose { records.renewKey(into: &output) }
            // OpenSSL's keys are the old ones now.
            hasReceivedData = true
            return
        }
        if ssl != nil, !hasReceivedData {
            showOpenSSL(record)
        } else if isServer || !rest.isEmpty || content.first != Message.newSessionTicket {
            refuse(SSL_R_UNEXPECTED_MESSAGE, Alert.unexpectedMessage, records, &output)
        }
    }

    private func takeAlert(
        _ record: Bytes,
        _ content: Bytes,
        _ records: TLSRecords,
        _ output: inout ByteBuffer
    ) {
        guard content.count == 2 else {
            return refuse(SSL_R_INVALID_ALERT, Alert.decodeError, records, &output)
        }
        switch content[1] {
        case Alert.closeNotify: status = .peerClosed
        case Alert.userCanceled: hasReceivedData = true
        case let alert:
            copenssl_raise(SSL_AD_REASON_OFFSET + Int32(alert))
            fail(during: .record)
        }
    }

    /// Lets OpenSSL read a record that is not application data. What it would answer is not for the wire: it
    /// does not know how many records we have sent.
    private func showOpenSSL(_ record: Bytes) {
        var nothing = ByteBuffer()
        var unsent = ByteBuffer()
        withUnsafeMutablePointer(to: &unsent) {
            window.pointee.input = record
            window.pointee.output = $0
            read(&nothing)
            window.pointee.input = Bytes(start: nil, count: 0)
            window.pointee.output = nil
        }
    }

    private func refuse(
        _ fault: TLSRecords.Fault,
        _ records: TLSRecords,
        _ output: inout ByteBuffer
    ) {
        switch fault {
        case .notGenuine:
            let reason = SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC
            refuse(reason, Alert.badRecordMAC, records, &output)
        case .withoutContent:
            refuse(SSL_R_BAD_RECORD_TYPE, Alert.unexpectedMessage, records, &output)
        case .overlong:
            refuse(SSL_R_DATA_LENGTH_TOO_LONG, Alert.recordOverflow, records, &output)
        }
    }

    /// Ends the connection for what the peer did, and tells it.
    private func refuse(
        _ reason: Int32,
        _ alert: UInt8,
        _ records: TLSRecords,
        _ output: inout ByteBuffer
    ) {
        copenssl_raise(reason)
        fail(during: .record)
        sendAlert(alert, isFatal: true, records, into: &output)
    }

    func sendAlert(
        _ alert: UInt8,
        isFatal: Bool,
        _ records: TLSRecords,
        into output: inout ByteBuffer
    ) {
        withUnsafeBytes(of: (isFatal ? 2 : 1, alert) as (UInt8, UInt8)) {
            records.seal($0, type: TLSRecords.Content.alert, into: &output)
        }
    }
}
