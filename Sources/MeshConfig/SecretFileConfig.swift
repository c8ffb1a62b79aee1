import MeshNet

/// A file of secrets: `{"resources": […]}`, as a secret discovery service would answer (envoy:
/// service.discovery.v3.DiscoveryResponse).
package struct SecretFileConfig: Sendable {
    package let secrets: [SecretConfig]

    private static let secretType = "envoy.extensions.transport_sockets.tls.v3.Secret"
    private static let wrapperType = "envoy.service.discovery.v3.Resource"

    package init(_ object: ConfigObject) {
        secrets = object.objects("resources").compactMap { resource in
            guard var opened = resource.openedAny() else { return nil }
            if opened.type == Self.wrapperType {
                opened.object.inert(
                    "name",
                    "version",
                    "aliases",
                    "ttl",
                    "cache_control",
                    "metadata"
                )
                guard let inner = opened.object.typedConfig("resource") else { return nil }
                opened = inner
            }
            guard opened.type == Self.secretType else {
                resource.error("\(opened.type) is no secret; \(Self.secretType) is wanted")
                opened.object.skip()
                return nil
            }
            return SecretConfig(opened.object)
        }
        _ = object.string("version_info")
        _ = object.string("type_url")
        object.inert("nonce", "canary", "control_plane", "resource_errors")
        if secrets.isEmpty { object.error("there is no secret in this file", at: "resources") }
    }

    /// Reads and decodes a file; what is wrong is told as lines of text.
    package static func read(
        _ bytes: [UInt8],
        path: String
    ) -> (secrets: [SecretConfig], problems: [String]) {
        let diagnostics = ConfigDiagnostics()
        var secrets: [SecretConfig] = []
        if let root = ConfigDocument.parse(bytes, fileName: path, diagnostics: diagnostics) {
            secrets = SecretFileConfig(root).secrets
            root.finish()
        }
        return (
            diagnostics.hasErrors ? [] : secrets, diagnostics.errors.map { "\(path):\($0)" }
        )
    }
}
