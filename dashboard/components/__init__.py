"""The Streamlit components that pages share: filters, charts, tables, links and choices in the URL."""
