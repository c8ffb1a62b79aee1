import Glibc

/// From the command line and the environment to a running agent, or to an exit code and the reasons.
package enum ZtunnelRunner {
    package static func run(_ arguments: [String]) -> Never {
        exit(1)
    }
}
