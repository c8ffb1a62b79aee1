import MeshProxy

@main
enum Main {
    static func main() {
        CommandLineRunner.run(CommandLine.arguments)
    }
}
