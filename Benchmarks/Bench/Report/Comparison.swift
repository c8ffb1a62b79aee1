/// One figure divided by another, with what the repetitions say about it.
package struct Ratio: Equatable, Sendable {
    package enum Certainty: Sendable {
        /// The spreads are apart.
        case clear
        /// The spreads overlap: a repetition more could turn it round.
        case tie
        /// A single repetition on one side: nothing is known of its spread.
        case single
    }

    package let value: Double
    package let certainty: Certainty

    /// Nil where the division says nothing: `other` is not above zero, or the figure is below.
    package init?(_ figure: Figure, to other: Figure) {
        guard other.median > 0, figure.median >= 0 else { return nil }
        let value = figure.median / other.median
        guard value.isFinite else { return nil }
        self.value = value
        if figure.repetitions < 2 || other.repetitions < 2 {
            certainty = .single
        } else if figure.lowest <= other.highest && other.lowest <= figure.highest {
            certainty = .tie
        } else {
            certainty = .clear
        }
    }

    /// `0.33`, `≈0.94` for a tie, `0.94?` where the spread is not known.
    package var text: String {
        let number = Number.text(value, decimals: value < 9.995 ? 2 : 1)
        switch certainty {
        case .clear: return number
        case .tie: return "≈" + number
        case .single: return number + "?"
        }
    }
}

/// The part of a figure that the minimal relay of the same scenario does not have.
package struct AboveFloor: Equatable, Sendable {
    package let amount: Double
    /// Of the whole figure, below zero where a peer is cheaper than the relay.
    package let share: Double

    package init?(_ figure: Figure, floor: Figure) {
        guard figure.median > 0 else { return nil }
        amount = figure.median - floor.median
        share = amount / figure.median
    }

    /// `5.27 (46 %)`.
    package var text: String { "\(Number.text(amount)) (\(Number.percent(share)))" }
}
