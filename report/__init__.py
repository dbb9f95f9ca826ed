"""What the user looks at: figures, pages, dashboards."""

from phiscale.no_command import refuse_to_run

refuse_to_run(__name__)
