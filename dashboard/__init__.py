"""Pictures of what the store holds: Streamlit pages over pure Plotly charts. No statistics beyond sums."""
