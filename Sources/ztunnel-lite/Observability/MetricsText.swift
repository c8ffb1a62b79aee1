import MeshNet

/// Writes metrics as ztunnel does: OpenMetrics text 1.0, which a reader of Prometheus's older text
/// takes as well. Families without samples are left out.
struct MetricsText: ~Copyable {
    private var buffer = ByteBuffer()
    private var family: Family?

    private struct Family {
        let name: StaticString
        let type: Kind
        let help: StaticString
        var isWritten = false
    }

    enum Kind {
        case counter, gauge
    }

    /// Samples from here on are of this family; `name` has no `_total`.
    mutating func begin(_ type: Kind, _ name: StaticString, _ help: StaticString) {
        family = Family(name: name, type: type, help: help)
    }

    mutating func sample(_ value: UInt64, _ labels: (inout ByteBuffer) -> Void) {
        head()
        buffer.append("{" as StaticString)
        labels(&buffer)
        buffer.append("} " as StaticString)
        buffer.append(decimal: value)
        buffer.append("\n" as StaticString)
    }

    mutating func sample(_ value: UInt64) {
        head()
        buffer.append(" " as StaticString)
        buffer.append(decimal: value)
        buffer.append("\n" as StaticString)
    }

    consuming func finish() -> ByteBuffer {
        buffer.append("# EOF\n" as StaticString)
        return buffer
    }

    /// The sample's name, and before the first one what its family is.
    private mutating func head() {
        guard let family else { preconditionFailure("a sample without a family") }
        if !family.isWritten {
            buffer.append("# HELP " as StaticString)
            buffer.append(family.name)
            buffer.append(" " as StaticString)
            buffer.append(family.help)
            buffer.append(".\n# TYPE " as StaticString)
            buffer.append(family.name)
            buffer.append(family.type == .counter ? " counter\n" as StaticString : " gauge\n")
            self.family?.isWritten = true
        }
        buffer.append(family.name)
        if family.type == .counter { buffer.append("_total" as StaticString) }
    }
}
