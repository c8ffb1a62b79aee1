/// The page's style sheet and its little script. Neither holds a character that XML would take for markup.
enum PageStyle {
    static var sheet: String {
        """
        \(variables)
        \(PeerColour.rules(isDark: false))
        @media (prefers-color-scheme: dark) {
        :root{\(dark)}
        \(PeerColour.rules(isDark: true))
        }
        \(layout)
        \(plots)
        \(phases)
        \(print)
        """
    }

    private static let light = """
        --page:#fff;--ink:#1b1f24;--muted:#626a74;--line:#e3e6ea;--panel:#f7f8fa;--accent:#0b62a4;\
        --kernel:#c5cad1;--tls:#8f9aa8;--better:#e2f1e6;--better-ink:#165c2c;--worse:#fbe6e4;\
        --worse-ink:#8f1d14;--warn:#fff3d6
        """

    private static let dark = """
        --page:#121519;--ink:#e4e7eb;--muted:#98a1ac;--line:#2b3138;--panel:#191d22;--accent:#58b0f2;\
        --kernel:#454c56;--tls:#6d7886;--better:#17351f;--better-ink:#8fdba6;--worse:#421d1b;\
        --worse-ink:#f5a39b;--warn:#3d3213
        """

    private static let variables = ":root{color-scheme:light dark;\(light)}"

    private static let layout = """
        *{box-sizing:border-box}
        body{margin:0;background:var(--page);color:var(--ink);
        font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
        font-variant-numeric:tabular-nums}
        main{max-width:1120px;margin:0 auto;padding:40px 24px 80px}
        h1{font-size:2.1rem;line-height:1.15;margin:0 0 4px;letter-spacing:-.02em;font-weight:650}
        h2{font-size:1.35rem;margin:56px 0 8px;letter-spacing:-.01em;font-weight:650}
        h2.quiet{font-size:.8rem;margin:16px 0 6px;color:var(--muted);font-weight:600}
        h3{font-size:1.15rem;margin:0 0 4px;font-weight:650}
        h3 code{font-size:.8rem;color:var(--muted);font-weight:400;margin-left:6px}
        h4{font-size:.92rem;margin:0 0 8px;font-weight:600;display:flex;gap:12px;align-items:baseline;
        justify-content:space-between}
        h4 span{flex:1}
        p{margin:0 0 14px;max-width:74ch;color:var(--muted)}
        a{color:inherit;text-decoration-color:var(--kernel);text-underline-offset:3px}
        a:hover{color:var(--accent)}
        code{font:.88em ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
        .kicker{color:var(--accent);font-weight:650;margin:0;font-size:.85rem;letter-spacing:.06em;
        text-transform:uppercase}
        .date{margin:0 0 20px}
        .facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));gap:2px 28px;margin:0;
        font-size:.86rem}
        .facts div{display:flex;gap:12px;border-top:1px solid var(--line);padding:5px 0}
        .facts dt{color:var(--muted);flex:0 0 84px}
        .facts dd{margin:0;overflow-wrap:anywhere}
        .warning,.notes{background:var(--warn);color:var(--ink);padding:8px 14px;border-radius:6px;
        font-size:.86rem}
        .notes{list-style:none;margin:14px 0}
        .notes li{margin:0}
        ul{padding-left:1.2em;margin:0;max-width:78ch}
        li{margin:0 0 6px}
        nav{display:flex;flex-wrap:wrap;gap:6px 8px;margin:0 0 8px;font-size:.84rem}
        nav a{border:1px solid var(--line);border-radius:99px;padding:2px 11px;text-decoration:none}
        .scenario{border-top:1px solid var(--line);margin-top:32px;padding-top:24px;scroll-margin-top:8px}
        .grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr));gap:18px}
        .columns{columns:2 440px;column-gap:18px}
        .columns figure{margin-bottom:18px}
        figure{margin:0;padding:14px 16px 10px;background:var(--panel);border-radius:10px;
        break-inside:avoid;min-width:0}
        figcaption{font-size:.8rem;color:var(--muted);margin-top:6px;line-height:1.45}
        .key{white-space:nowrap;margin-right:10px}
        .key i{display:inline-block;width:.75em;height:.75em;border-radius:2px;margin-right:5px;
        background:currentColor}
        .key i.own{background:linear-gradient(90deg,var(--accent),var(--ink))}
        .scroll{overflow-x:auto}
        table{border-collapse:collapse;font-size:.86rem;width:100%}
        th,td{text-align:right;padding:6px 9px;border-bottom:1px solid var(--line);white-space:nowrap}
        th:first-child{text-align:left}
        thead th{font-weight:600;border-bottom-color:var(--kernel);vertical-align:bottom}
        tbody th{font-weight:400}
        td.lead{font-weight:600}
        .glance th small,.figures td small{display:block}
        .glance th,.glance td{padding:4px 8px}
        small{color:var(--muted);font-weight:400;font-size:.88em}
        tr.group th{font-weight:650;text-align:left;padding-top:16px}
        td.better{background:var(--better);color:var(--better-ink)}
        td.worse{background:var(--worse);color:var(--worse-ink)}
        td.tie{color:var(--muted)}
        details{margin-top:14px}
        summary{cursor:pointer;font-size:.86rem;color:var(--muted);margin-bottom:6px}
        button.switch{font:inherit;font-size:.78rem;font-weight:400;color:var(--muted);background:none;
        border:1px solid var(--line);border-radius:99px;padding:0 10px;cursor:pointer}
        #tip{position:fixed;z-index:9;pointer-events:none;background:var(--ink);color:var(--page);
        font-size:.78rem;line-height:1.4;padding:6px 10px;border-radius:6px;white-space:pre;display:none}
        """

    private static let plots = """
        svg{display:block;width:100%;height:auto;overflow:visible}
        svg text{font-size:12.5px;fill:var(--ink)}
        svg .tick{fill:var(--muted);font-size:11.5px}
        svg .value,svg .end{font-weight:600;paint-order:stroke;stroke:var(--panel);stroke-width:3px}
        svg .end{fill:currentColor}
        svg .grid{stroke:var(--line);stroke-width:1;fill:none}
        svg .base{stroke:var(--kernel);stroke-width:1}
        svg .full{fill:currentColor}
        svg .light{fill:currentColor;fill-opacity:.48}
        svg .kernel{fill:var(--kernel)}
        svg .tls{fill:var(--tls)}
        .key i.kernel{background:var(--kernel)}
        .key i.tls{background:var(--tls)}
        svg .whisker{stroke:var(--ink);stroke-width:1.3}
        svg .reference{stroke:var(--ink);stroke-width:1.2;stroke-dasharray:4 3}
        svg .curve{fill:none;stroke:currentColor;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
        svg .peer-meshproxy .curve{stroke-width:2.8}
        svg .peer-direct .curve,svg .peer-floor .curve{stroke-width:1.5;stroke-dasharray:5 4}
        svg .variant .curve{stroke-dasharray:2 5}
        svg .variant .full{fill-opacity:.66}
        svg .variant .light{fill-opacity:.3}
        svg .mark{fill:currentColor;stroke:var(--panel);stroke-width:1.2}
        svg .leader{stroke:currentColor;stroke-width:1;stroke-opacity:.45}
        svg .hover{fill:transparent}
        svg .hover:hover{fill:var(--ink);fill-opacity:.06}
        .scale-linear{display:none}
        .linear .scale-linear{display:inline}
        .linear .scale-log{display:none}
        """

    private static let phaseColours = [
        "#3b7dd8", "#d2593f", "#8a63d2", "#c79a1e", "#2f9e77", "var(--kernel)", "#53a6cf",
        "#17694f",
        "#a0522d", "#b5487a", "#7d8894",
    ]

    private static var phases: String {
        phaseColours.enumerated()
            .map { "svg .phase-\($0){fill:\($1)} .key i.phase-\($0){background:\($1)}" }
            .joined(separator: "\n")
    }

    private static let print = """
        @media (max-width:560px){main{padding:24px 14px 60px}h1{font-size:1.7rem}figure{padding:12px 10px 8px}
        svg text{font-size:14px}svg .tick{font-size:13px}
        .glance td small{display:none}.glance tbody th{white-space:normal}}
        @media print{:root{\(light)}
        \(PeerColour.rules(isDark: false))
        main{max-width:none;padding:0}button.switch,nav,summary{display:none}
        .scenario{break-inside:auto}figure{background:none;border:1px solid var(--line)}
        body{font-size:12px}.scroll{overflow:visible}table{font-size:9px}tr{break-inside:avoid}
        th,td,.glance th,.glance td{padding:2px 4px;white-space:normal}.grid{grid-template-columns:1fr 1fr}.columns{columns:2}h2,h3{break-after:avoid}
        *{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
        """

    /// Tips that follow the pointer instead of the browser's slow ones, the switch of scales, and tables that
    /// are open on paper. Without it the page shows all the same.
    static let script = """
        (function () {
          var tip = document.createElement('div');
          tip.id = 'tip';
          document.body.appendChild(tip);
          document.querySelectorAll('svg title').forEach(function (title) {
            title.parentNode.dataset.tip = title.textContent;
            title.remove();
          });
          document.addEventListener('pointermove', function (event) {
            var text = event.target.dataset ? event.target.dataset.tip : null;
            tip.style.display = text ? 'block' : 'none';
            if (!text) { return; }
            tip.textContent = text;
            var right = Math.max(4, window.innerWidth - tip.offsetWidth - 8);
            tip.style.left = Math.min(event.clientX + 14, right) + 'px';
            var below = event.clientY + 18;
            var isLow = below + tip.offsetHeight > window.innerHeight;
            tip.style.top = (isLow ? event.clientY - tip.offsetHeight - 10 : below) + 'px';
          });
          var switches = document.querySelectorAll('button.switch');
          switches.forEach(function (button) {
            button.hidden = false;
            button.title = 'vertical axes';
            button.addEventListener('click', function () {
              var isLinear = document.documentElement.classList.toggle('linear');
              switches.forEach(function (other) {
                other.textContent = isLinear ? 'logarithmic' : 'linear';
              });
            });
          });
          window.addEventListener('beforeprint', function () {
            document.querySelectorAll('details').forEach(function (one) { one.open = true; });
          });
        })();
        """
}
