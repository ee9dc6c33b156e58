"""The router: names the application, draws the menu, hands over to the page."""

import numpy as np
import streamlit as st
from PIL import Image

from kswatch.dashboard.auth import current_user as visitor
from kswatch.dashboard.navigation import navigation

# drawn here: icons by name are fetched from elsewhere. Two blocks of a Kronecker-sparse support
_SUPPORT = np.kron(np.eye(2), np.kron(np.ones((2, 2)), np.eye(2))).repeat(8, 0).repeat(8, 1)
ICON = Image.fromarray((255 - _SUPPORT * 200).astype(np.uint8))

st.set_page_config(page_title="kswatch", page_icon=ICON, layout="wide")
if not visitor.is_guarded():
    st.error("These pages are served without their guard. Start them with `kswatch dashboard`.")
    st.stop()
navigation().run()
visitor.tell_who_looks()
