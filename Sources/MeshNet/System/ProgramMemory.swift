import CLinux

/// The program itself, and the libraries it is linked with, as memory.
package enum ProgramMemory {
    /// Lets go of code and constants that only starting needed: reading a configuration touches most of the
    /// program, traffic a small part of it. What is used again comes back from the page cache, in some
    /// hundred minor faults of less than a microsecond each. Any thread, once it has started.
    package static func giveBackStart() { clinux_program_drop_read_only() }
}
