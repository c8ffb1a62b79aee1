/// Why an end of a measurement cannot be set up, in one line for people.
package struct LoadError: Error, Equatable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}
