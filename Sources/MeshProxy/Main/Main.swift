import MeshProxy

@main
enum Main {
    static func main() {}
}
