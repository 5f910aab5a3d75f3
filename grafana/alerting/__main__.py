"""Write the files of Grafana's alerting: `./dev boards` does, after the boards."""

from grafana.alerting.files import FILES, UIDS, made, shipped

for name, text in made().items():
    (FILES / name).write_text(text, encoding="utf-8")
UIDS.write_text("".join(f"{uid}\n" for uid in shipped()), encoding="utf-8")
