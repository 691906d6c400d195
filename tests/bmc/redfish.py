#!/usr/bin/env python3
"""A BMC for the tests: the Redfish emulator of OpenStack's sushy-tools, with the power meter fitted that it lacks.

    redfish.py --config F     F is a configuration of the emulator, with the keys below; it says on standard error where it listens

Systems, switching them, TLS and basic authentication are the emulator's own. Ours:

    METER_FILE   JSON, read at each request: what `EnvironmentMetrics` and `Power` of every chassis hold; a chassis has links to
                 those that are in it
    ORDERS_FILE  gets a line per order, before it is answered: path and body
"""
import json
import pathlib

import flask
from sushy_tools.emulator import main as emulator

app = emulator.app


def meters():
    return json.loads(pathlib.Path(app.config["METER_FILE"]).read_text())


@app.route("/redfish/v1/Chassis/<chassis>/<name>")
def reading(chassis, name):
    found = meters().get(name)
    return ({"error": {"message": "there is no such meter"}}, 404) if found is None else flask.jsonify(found)


@app.after_request
def link_meters(response):
    if flask.request.path.rpartition("/")[0] == "/redfish/v1/Chassis" and response.status_code == 200:
        chassis = json.loads(response.get_data())
        chassis.update({name: {"@odata.id": f"{flask.request.path}/{name}"} for name in meters()})
        response.set_data(json.dumps(chassis))
    return response


@app.before_request
def note_orders():
    if flask.request.method == "POST":
        with open(app.config["ORDERS_FILE"], "a") as orders:
            print(flask.request.path, flask.request.get_data(as_text=True), file=orders)


emulator.main()
