"""The documentation of callbacks: what Taskmill sends, and what its answers mean."""

from typing import Any

from pydantic import BaseModel

from app.api.openapi import reference

_HEADERS = {
    "webhook-id": ("Of the message: the same in all tries and repeats.", "msg_0192d2ab4e1f7a308b6e3f0c9a5d7e21_3"),
    "webhook-timestamp": ("When this try was made, in seconds since 1970.", "1730102652"),
    "webhook-signature": ("One for each of CALLBACK_SECRETS.", "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="),
    "traceparent": ("In the trace of the request that made the task.", f"00-{'ab' * 16}-{'cd' * 8}-01"),
}


def callbacks(message: type[BaseModel]) -> dict[str, Any]:
    """For `openapi_extra` of a call whose body has a `callback_url`."""
    return {
        "ended": {
            "{$request.body#/callback_url}": {
                "post": {
                    "summary": "It has ended",
                    "description": "Signed as Standard Webhooks has it. Tried again for a day, until the answer is "
                    "2xx or 410.",
                    "parameters": [
                        {
                            "name": name,
                            "in": "header",
                            "required": True,
                            "description": description,
                            "schema": {"type": "string"},
                            "example": example,
                        }
                        for name, (description, example) in _HEADERS.items()
                    ],
                    "requestBody": {"required": True, "content": {"application/json": {"schema": reference(message)}}},
                    "responses": {
                        "2XX": {"description": "The message was taken; the body is not read."},
                        "410": {"description": "Nobody wants it any more: it is not tried again."},
                        "default": {"description": "It is tried again, on schedule."},
                    },
                }
            }
        }
    }
