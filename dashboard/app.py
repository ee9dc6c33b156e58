"""The router: names the application, draws the menu, hands over to the page."""

import streamlit as st

from dashboard.page_list import navigation

st.set_page_config(page_title="kswatch", page_icon=":material/grid_view:", layout="wide")
navigation().run()
