"""What a person looks at: figures, pages, dashboards."""
