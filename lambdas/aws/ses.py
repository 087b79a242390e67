"""SES: the mail to the owner of who is stopped."""

from typing import Any

from lambdas.aws import calls
from lambdas.core.notice import Notice
from lambdas.core.permissions import On, needs


class OwnerMail:
    """Mail to single addresses, from a sender that SES has verified."""

    def __init__(self, client: Any, sender: str) -> None:  # noqa: ANN401 - there are no stubs of this client
        """Take the client and the sender's address."""
        self._ses = client
        self._sender = sender

    @needs("ses:SendEmail", on=On.SENDER)
    def send_to(self, address: str, notice: Notice) -> None:
        """Send a mail to one address."""
        with calls.named("ses:SendEmail"):
            self._ses.send_email(
                FromEmailAddress=self._sender,
                Destination={"ToAddresses": [address]},
                Content={
                    "Simple": {
                        "Subject": {"Data": notice.subject, "Charset": "UTF-8"},
                        "Body": {"Text": {"Data": notice.text, "Charset": "UTF-8"}},
                    }
                },
            )
