"""What the commands share. No command is in here."""

from phiscale.no_command import refuse_to_run

refuse_to_run(__name__)
