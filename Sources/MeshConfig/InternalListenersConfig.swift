/// What allows listeners inside the process (envoy: bootstrap.internal_listener.v3.InternalListener).
package struct InternalListenersConfig: Hashable, Sendable {
    /// What one direction of a connection holds until its reader takes it.
    package let bufferBytes: Int

    static let type = "envoy.extensions.bootstrap.internal_listener.v3.InternalListener"

    /// Reads an entry of `bootstrap_extensions`; nil after an error.
    static func decode(_ object: ConfigObject) -> InternalListenersConfig? {
        let name = object.requiredString("name")
        guard let (type, options) = object.typedConfig() else { return nil }
        guard type == Self.type else {
            object.error(
                "\(ConfigNode.quoted(name)) is not supported; the one extension is \(Self.type)"
            )
            options.skip()
            return nil
        }
        let kilobytes = options.uint32("buffer_size_kb", default: 1024, in: 1...8192)
        return InternalListenersConfig(bufferBytes: Int(kilobytes) << 10)
    }
}
