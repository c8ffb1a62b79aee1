import Ztunnel

@main
enum Main {
    static func main() {
        ZtunnelRunner.run(CommandLine.arguments)
    }
}
