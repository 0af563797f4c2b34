"""How the demo answers an EC2 request: moto's own answers, written quickly, and what moto answers for all of AWS."""

from typing import Any
from xml.sax.saxutils import escape

from moto.core.common_types import TYPE_RESPONSE
from moto.core.responses import ActionContext, ActionResult
from moto.core.serialize import AttributePickerContext, EC2Serializer, XFormedAttributePicker
from moto.core.utils import MISSING, get_service_model, get_value
from moto.ec2.responses import EC2Response

_EC2 = get_service_model("ec2")
"""The description of EC2; it is parsed here, while moto is imported, as the first request would wait for it."""

_places: dict[tuple[Any, ...], tuple[tuple[str, ...], Any]] = {}
"""The names under which a member of an answer may be, and what transforms it, by class, name and path."""


class QuickSerializer(EC2Serializer):  # type: ignore[misc]
    """Writes the same XML as moto's own serializer in a third of the time.

    moto works out for each value of each item by which names an object may have it, and writes through a SAX parser.
    """

    def get_value(self, value: Any, key: str, shape: Any) -> Any:
        place = (type(value), key, *self.path)
        if (found := _places.get(place)) is None:
            found = _places[place] = self._find(value, key, shape)
        names, transform = found
        member = None
        if isinstance(value, dict):
            member = next((value[name] for name in names if name in value), None)
        else:
            for name in names:
                if (member := get_value(value, name, MISSING)) is not MISSING:
                    break
            else:
                member = None
        return transform(member) if transform else member

    def _find(self, value: Any, key: str, shape: Any) -> tuple[tuple[str, ...], Any]:
        """Return the names in the order in which moto tries them, and moto's transformer of this member or None."""
        picker: XFormedAttributePicker = self._value_picker
        names = dict.fromkeys(picker.get_possible_keys(AttributePickerContext(value, key, shape)))
        path = ".".join((*self.path, key))
        ends = (transform for end, transform in picker.response_transformers.items() if path.endswith(end))
        return tuple(names), next(ends, None)

    def _serialize_body(self, body: Any) -> str:
        out = ['<?xml version="1.0" encoding="utf-8"?>\n']
        for name, value in body.items():
            _write(out, name, value)
        return "".join(out)


def _write(out: list[str], name: str, value: Any) -> None:
    """Write what xmltodict would: a list as one element for each item, "@xmlns" as an attribute."""
    if isinstance(value, list):
        for item in value:
            _write(out, name, item)
    elif isinstance(value, dict):
        namespace = value.get("@xmlns")
        out.append(f'<{name} xmlns="{namespace}">' if namespace else f"<{name}>")
        for key, item in value.items():
            if key != "@xmlns":
                _write(out, key, item)
        out.append(f"</{name}>")
    else:
        out.append(f"<{name}>{'' if value is None else escape(str(value))}</{name}>")


class DemoResponse(EC2Response):  # type: ignore[misc]
    """moto's answers to EC2 requests."""

    def serialized(self, action_result: ActionResult) -> TYPE_RESPONSE:
        context = ActionContext(_EC2, _EC2.operation_model(self._get_action()), QuickSerializer, self)
        status, headers, body = action_result.execute_result(context)
        return status, headers | self.response_headers, body

    @staticmethod
    def _enrich_response(headers: dict[str, str], body: Any) -> tuple[dict[str, str], Any]:
        """Leave the request id to the server: moto would take it from the generator of all other ids."""
        return headers, body

    def describe_regions(self) -> ActionResult:
        """List the demo's regions. Those that are not opted in are listed only on demand, which moto ignores."""
        result = super().describe_regions().result
        if not self._get_param("AllRegions"):
            result["Regions"] = [region for region in result["Regions"] if region.opt_in_status != "not-opted-in"]
        return ActionResult(result)
