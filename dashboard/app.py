"""The router: names the application, draws the menu, runs the page."""

import numpy as np
import streamlit as st
from PIL import Image

from kswatch.dashboard.auth import current_user
from kswatch.dashboard.navigation import navigation

# two blocks of a Kronecker-sparse support; drawn here, since icons by name are fetched from the network
_SUPPORT = np.kron(np.eye(2), np.kron(np.ones((2, 2)), np.eye(2))).repeat(8, 0).repeat(8, 1)
ICON = Image.fromarray((255 - _SUPPORT * 200).astype(np.uint8))

st.set_page_config(page_icon=ICON, layout="wide")
if not current_user.is_protected():
    st.error("These pages are served without authentication. Start them with `kswatch dashboard`.")
    st.stop()
page = navigation()
st.set_page_config(page_title=f"{page.title} – kswatch")
page.run()
current_user.show_signed_in_user()
